import doctest


def test_the_worked_example_prints_what_it_says(repository):
    path = repository / "docs" / "evaluation.md"
    results = doctest.testfile(str(path), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0
