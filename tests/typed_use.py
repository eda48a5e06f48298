"""How the public names look to a type checker: `make lint` checks this file, nothing runs it.

A `type: ignore` that is not needed is an error, so each of them shows that a wrong call is found.
"""

from typing import assert_type

from saccade import TextGenerator, Translation, Translator
from saccade.use.generator import Continuation

translator = Translator.load("runs/model", device="cpu", precision="int8")
assert_type(translator.translate(["A dog runs."], beam=5, length_penalty="power"), list[Translation])
assert_type(translator.translate(["A dog runs."], sample=True, top_k=10)[0].text, str)
assert_type(translator.translate(["A dog runs."], candidates=4, fertilities="average")[0].score, float)
translator.translate(["A dog runs."], beams=5)  # type: ignore[call-arg]
translator.translate(["A dog runs."], beam="5")  # type: ignore[arg-type]
translator.translate(["A dog runs."], length_penalty="google")  # type: ignore[arg-type]
Translator.load("runs/model", precision="int4")  # type: ignore[arg-type]

generator = TextGenerator.load("runs/language-model")
assert_type(generator.generate("The town", tokens=20, temperature=0.8), list[Continuation])
generator.generate("The town", beam=5)  # type: ignore[call-arg]
