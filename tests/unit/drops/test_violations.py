import pytest

from churn.drops.violations import SHOWN, DropRejected, Violations


def test_no_violation_is_no_error():
    violations = Violations()
    assert not violations
    violations.raise_if_any("2024-01-31")


def test_the_error_names_the_drop_file_line_column_value_and_rule():
    violations = Violations()
    violations.add("users.csv", "a rule", line=7, column="user_id", value="x'y")
    violations.add("users.csv", "the file in the drop")
    with pytest.raises(DropRejected) as error:
        violations.raise_if_any("2024-01-31")
    assert str(error.value) == (
        "drop 2024-01-31 rejected, nothing of it is loaded:\n"
        'users.csv, line 7, column user_id: "x\'y": expected a rule\n'
        "users.csv: expected the file in the drop"
    )


def test_the_first_twenty_of_each_rule_in_a_column_are_named_and_the_others_counted():
    violations = Violations()
    for line in range(2, 32):
        violations.add("users.csv", "a rule", line=line, column="a", value="x")
        violations.add("users.csv", "a rule", line=line, column="b", value="x")
    violations.count("users.csv", "a rule", column="a", more=1000)
    lines = str(violations).splitlines()
    assert len(lines) == 2 * (SHOWN + 1) == 42
    assert lines[19:21] == [
        "users.csv, line 21, column a: 'x': expected a rule",
        "users.csv, column a: … and 1010 more, expected a rule",
    ]
    assert lines[-1] == "users.csv, column b: … and 10 more, expected a rule"


def test_a_count_of_zero_is_no_violation():
    violations = Violations()
    violations.count("users.csv", "a rule", more=0)
    assert not violations


def test_a_long_value_is_quoted_in_part():
    violations = Violations()
    violations.add("users.csv", "a rule", line=2, value="x" * 1000)
    assert str(violations) == f"users.csv, line 2: '{'x' * 80}…': expected a rule"


def test_bytes_that_are_not_text_and_control_characters_are_quoted_readably():
    violations = Violations()
    violations.add("users.csv", "a rule", line=2, value=b"a\xff\n\x00")
    assert "\n" not in str(violations)
    assert r"\xff" in str(violations)
    assert r"\x00" in str(violations)
