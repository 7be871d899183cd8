"""An LSTM encoder-decoder with additive attention, from scratch: what came before Transformers.

Encoder and score are those of Bahdanau et al. 2014 (https://arxiv.org/abs/1409.0473), with LSTMs
for its gated units. The order of the decoder is that of Luong et al. 2015, without input feeding
(https://arxiv.org/abs/1508.04025, section 3): its states come first and attend afterwards, so
that one LSTM call and one attention serve all places of a text. Padding must be on the right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel, initialization
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from wordmill.models.additive_attention import additive_scores
from wordmill.tokens.sentinels import NUM_SENTINELS

if TYPE_CHECKING:
    from wordmill.models.vocabulary import Vocabulary
    from wordmill.params.model import LstmParams


class LstmConfig(PreTrainedConfig):
    """The sizes of an LSTM; transformers makes one without arguments, hence the defaults."""

    model_type = "wordmill-lstm"

    vocab_size: int = 1
    """V."""
    embedding_size: int = 1
    """E."""
    hidden_size: int = 2
    """D."""
    num_layers: int = 1
    is_encoder_decoder: bool = True
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    decoder_start_token_id: int | None = None


class DecoderState(NamedTuple):
    """What the decoder remembers between two steps."""

    hidden: Tensor
    """(layers, B, D)."""
    cell: Tensor
    """(layers, B, D)."""
    keys: Tensor
    """(B, T, D), of the source: the same at every step."""


class LstmEncoder(nn.Module):
    """Reads the source in both directions; holds the one embedding of the model."""

    main_input_name = "input_ids"

    def __init__(self, config: LstmConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(0.0)
        self.lstm = nn.LSTM(
            config.embedding_size,
            config.hidden_size // 2,
            config.num_layers,
            batch_first=True,
            bidirectional=True,
        )

    def embed(self, ids: Tensor) -> Tensor:
        """The vectors of tokens, (B, T, E)."""
        return self.dropout(self.embedding(ids))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> BaseModelOutput:
        """Read the source.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 1 where there is a token; what is padding changes nothing.
            _: what `generate` asks of Transformers.
        """
        embedded = self.embed(input_ids)
        num_places = input_ids.shape[1]
        lengths = None if attention_mask is None else _lengths(attention_mask)
        if lengths is None or int(lengths.min()) == num_places:
            memory, _state = self.lstm(embedded)
        else:
            packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
            read, _state = self.lstm(packed)
            memory, _lengths_again = pad_packed_sequence(
                read, batch_first=True, total_length=num_places
            )
        return BaseModelOutput(last_hidden_state=memory)  # (B, T, D)


class LstmDecoder(nn.Module):
    """Says the target: its states attend to the source and become vectors of tokens."""

    def __init__(self, config: LstmConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_layers = config.num_layers
        self.start = nn.Linear(size // 2, config.num_layers * size)
        self.lstm = nn.LSTM(config.embedding_size, size, config.num_layers, batch_first=True)
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)
        self.combine = nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(0.0)
        self.project = nn.Linear(size, config.embedding_size)

    def first_state(self, memory: Tensor) -> DecoderState:
        """The state before the first token, from what the backward direction read in the end."""
        batch_size, _places, size = memory.shape
        start = torch.tanh(self.start(memory[:, 0, size // 2 :]))  # (B, layers * D)
        hidden = start.view(batch_size, self.num_layers, size).transpose(0, 1).contiguous()
        return DecoderState(hidden, torch.zeros_like(hidden), self.key(memory))

    def forward(
        self, embedded: Tensor, memory: Tensor, is_token: Tensor | None, state: DecoderState
    ) -> tuple[Tensor, DecoderState]:
        """Go on from `state`.

        Args:
            embedded: vectors of the tokens given, (B, U, E).
            memory: what the encoder read, (B, T, D).
            is_token: (B, T), 0 where the source is padding.
            state: after the token before.

        Returns:
            For each place the vector that the next token should have, (B, U, E), and the state.
        """
        states, (hidden, cell) = self.lstm(embedded, (state.hidden, state.cell))
        context = self._contexts(states, state.keys, memory, is_token)
        combined = torch.tanh(self.combine(torch.cat([context, states], dim=-1)))  # (B, U, D)
        return self.project(self.dropout(combined)), DecoderState(hidden, cell, state.keys)

    def _contexts(
        self, states: Tensor, keys: Tensor, memory: Tensor, is_token: Tensor | None
    ) -> Tensor:
        """The mean of the memory, weighted by v . tanh(W state + U memory), (B, U, D)."""
        scores = additive_scores(self.query(states), keys, self.score.weight[0])  # (B, U, T)
        if is_token is not None:
            scores = scores.masked_fill(is_token.unsqueeze(1) == 0, -torch.inf)
        return scores.softmax(dim=-1).to(memory.dtype) @ memory


class LstmForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Logits of the target, token by token, given the source; the output layer is the embedding."""

    config: LstmConfig
    config_class = LstmConfig
    main_input_name = "input_ids"

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        self.encoder = LstmEncoder(config)
        self.decoder = LstmDecoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embedding

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Tensor, ...] | None = None,
        past_key_values: DecoderState | None = None,
        use_cache: bool | None = None,
        return_dict: bool = True,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Score every token at every place of the target.

        Args:
            input_ids: the source, (B, T); not read where `encoder_outputs` are given.
            attention_mask: (B, T), 0 where the source is padding.
            decoder_input_ids: the target one place later, (B, U); those after `past_key_values`.
            encoder_outputs: what the encoder made of the source.
            past_key_values: the state after the tokens before.
            use_cache: whether to hand out the state; by default what the config says.
            return_dict: whether to return an object, or else a tuple.
        """
        if decoder_input_ids is None:
            raise ValueError("decoder_input_ids are needed: the target one place later")
        has_read = encoder_outputs is not None
        read: Any = encoder_outputs if has_read else self.encoder(input_ids, attention_mask)
        memory: Tensor = read[0]  # (B, T, D)
        state = self.decoder.first_state(memory) if past_key_values is None else past_key_values
        embedded = self.encoder.embed(decoder_input_ids)  # (B, U, E)
        vectors, state = self.decoder(embedded, memory, attention_mask, state)
        is_kept = self.config.use_cache if use_cache is None else use_cache
        output = Seq2SeqLMOutput(
            logits=F.linear(vectors, self.encoder.embedding.weight),  # (B, U, V)
            past_key_values=state if is_kept else None,
            encoder_last_hidden_state=memory,
        )
        return output if return_dict else output.to_tuple()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Embeddings of length 1; matrices that keep a signal's size; LSTMs that remember."""
        super()._init_weights(module)
        if isinstance(module, nn.Embedding):
            initialization.normal_(module.weight, std=module.embedding_dim**-0.5)
        elif isinstance(module, nn.Linear):
            initialization.xavier_uniform_(module.weight)
        elif isinstance(module, nn.LSTM):
            for name, bias in module.named_parameters():
                if name.startswith("bias_ih"):
                    # Of input, forget, cell and output gate the second opens:
                    # https://proceedings.mlr.press/v37/jozefowicz15.html, section 2.2
                    initialization.ones_(bias[module.hidden_size : 2 * module.hidden_size])

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # `generate` keeps the state that `forward` hands out

    @staticmethod
    def _reorder_cache(state: DecoderState, beam_idx: Tensor) -> DecoderState:
        """The states of the beams that go on; they share their source, and so its keys."""
        hidden, cell = (part.index_select(1, beam_idx) for part in (state.hidden, state.cell))
        return DecoderState(hidden, cell, state.keys)


def new_lstm(
    params: LstmParams, vocabulary: Vocabulary, *, seed: int
) -> LstmForConditionalGeneration:
    """Make an LSTM with random weights that `seed` decides.

    Args:
        params: the `model.lstm` section; its word vectors come later (word_vectors.py).
        vocabulary: of its tokenizer; the model has the sentinels as well.
        seed: of the weights.
    """
    config = LstmConfig(
        vocab_size=vocabulary.size + NUM_SENTINELS,
        embedding_size=params.embedding_size,
        hidden_size=params.hidden_size,
        num_layers=params.num_layers,
        pad_token_id=vocabulary.pad_id,
        bos_token_id=vocabulary.end_id,
        eos_token_id=vocabulary.end_id,
        decoder_start_token_id=vocabulary.end_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LstmForConditionalGeneration(config)


def _lengths(attention_mask: Tensor) -> Tensor:
    """Tokens of each row, (B,), on the CPU, as packing wants them."""
    is_token = attention_mask.cpu() != 0
    if bool((is_token[:, 1:] & ~is_token[:, :-1]).any()):
        raise ValueError("an LSTM's source is padded on the right alone")
    return is_token.sum(dim=1)
