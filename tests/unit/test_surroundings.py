"""What the evaluate stage reads for the page."""

from types import SimpleNamespace

from stages.surroundings import _curves
from wordmill.report.run_story import curve_charts


def test_training_and_validation_loss_of_a_stage_are_one_chart(tmp_path):
    (tmp_path / "training.csv").write_text("step,loss\n1,5.0\n2,4.0\n3,3.5\n")
    (tmp_path / "validation.csv").write_text("step,loss\n1,5.5\n3,4.5\n")
    stage = SimpleNamespace(input=lambda _: tmp_path)
    (chart,) = curve_charts(_curves(stage, "pretrain"))
    assert [name for _, name, _ in chart.legend] == ["training", "validation"]
