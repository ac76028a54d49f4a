"""Fields of configurations by name."""

from owma.config.fields import label_changes, override, parse_axis, spell
from owma.config.sweep import SweepConfig


def test_values() -> None:
    (lists,) = parse_axis('a.b=["x","y"]')
    assert lists.fields == {"a.b": ["x", "y"]} and spell(["x", "y"]) == "x+y"
    assert [choice.fields["a"] for choice in parse_axis("a=1e-4,true,null,word")] == [1e-4, True, None, "word"]
    assert (spell(1e-4), spell(True), spell("owma.envs:f")) == ("0.0001", "true", "owma.envs_f")
    assert override(SweepConfig(), {"seeds": [1, 2]}).seeds == (1, 2)
    assert label_changes({"a": 1e-4, "b": True}) == "-a=0.0001-b=true"
