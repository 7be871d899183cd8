"""Words that carry little by themselves: what text can hardly do without, what may be left out.

STOP_WORDS are what a text of some language can hardly do without.

English ones are Gopher's eight (https://arxiv.org/abs/2112.11446, appendix A1.1); the others are
their nearest in frequency. Chinese are single characters, traditional, simplified and classical.
"""

STOP_WORDS: dict[str, tuple[str, ...]] = {
    "de": ("der", "die", "das", "und", "ist", "zu", "von", "mit", "ein", "eine", "in", "im"),
    "en": ("the", "be", "to", "of", "and", "that", "have", "with"),
    "es": ("el", "la", "de", "que", "y", "en", "los", "un", "una", "con"),
    "fr": ("le", "la", "les", "de", "et", "est", "que", "un", "une", "dans", "des"),
    "it": ("il", "la", "di", "che", "e", "in", "un", "una", "con", "per"),
    "nl": ("de", "het", "een", "en", "van", "is", "dat", "in", "met", "op"),
    "pt": ("o", "a", "de", "que", "e", "em", "um", "uma", "com", "os"),
    "zh": tuple("的了是在不有和人我他這这之也而其以於于為为無无一上中"),
}

_FUNCTION_WORDS = {
    "de": """
        aber als am an auch auf aus bei bin bis da damit dann das dass dem den der des die doch
        du durch ein eine einem einen einer er es für hat ich ihr im in ist ja kann man mit nach
        nicht noch nun nur ob oder sein sich sie sind so über um und uns von vor war was wenn wer
        wie wir wird zu zum zur
        """,
    "en": """
        a about above after again against all also am an and any are as at be because been before
        being below between both but by can could did do does doing down during each few for from
        further had has have having he her here hers him his how i if in into is it its just me
        more most my no nor not now of off on once only or other our out over own same she should
        so some such than that the their them then there these they this those through to too
        under until up very was we were what when where which while who whom why will with would
        you your
        """,
    "zh": """
        的 了 是 在 不 有 和 我 他 她 它 我们 他们 你 你们 这 那 這 也 就 都 而 及 与 與 着 著
        或 一个 没有 沒有 很 到 说 說 要 去 会 會 好 自己
        之 于 於 以 其 为 為 但 把 被 让 讓 从 從 对 對 上 下 中 吗 嗎 呢 吧 啊
        """,
}

FUNCTION_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()
}
"""What classical preprocessing leaves out."""
