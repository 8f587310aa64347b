"""Functions of torch that several exports stand around at once, in several threads."""

import threading
import types
from collections.abc import Callable
from typing import Any

import pytest

from modelexport.frontend.torch.scopes import replaced


def adding(letter: str) -> Callable[..., str]:
    def wrapper(original: Callable[..., str], text: str) -> str:
        return original(text) + letter

    return wrapper


@pytest.mark.parametrize("first_out", ["a", "b"])
def test_two_threads_that_leave_in_any_order(first_out: str) -> None:
    def plain(text: str) -> str:
        return text

    owner = types.SimpleNamespace(call=plain)
    inside, leave, left = ({name: threading.Event() for name in "ab"} for _ in range(3))
    heard: dict[str, str] = {}

    def stand(name: str) -> None:
        with replaced(owner, "call", adding(name)):
            inside[name].set()
            leave[name].wait(10)
            heard[name] = owner.call("")
        left[name].set()

    threads = [threading.Thread(target=stand, args=(name,)) for name in "ab"]
    for thread, name in zip(threads, "ab", strict=True):
        thread.start()
        assert inside[name].wait(10)
    assert owner.call("") == "ab"
    last = "b" if first_out == "a" else "a"
    leave[first_out].set()
    assert left[first_out].wait(10) and owner.call is not plain
    assert owner.call("") == last
    leave[last].set()
    assert left[last].wait(10) and owner.call is plain
    for thread in threads:
        thread.join()
    assert heard == {first_out: "ab", last: last}


def test_many_threads_at_once_put_it_back() -> None:
    def plain(text: str) -> str:
        return text

    owner = types.SimpleNamespace(call=plain)
    start, wrong = threading.Barrier(8), []

    def stand(name: str) -> None:
        start.wait()
        for _ in range(300):
            with replaced(owner, "call", adding(name)):
                if owner.call("").count(name) != 1:
                    wrong.append(name)

    threads = [threading.Thread(target=stand, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and owner.call is plain


def test_a_failure_inside_puts_it_back() -> None:
    def plain() -> Any:
        return None

    owner = types.SimpleNamespace(call=plain)
    with pytest.raises(ZeroDivisionError), replaced(owner, "call", lambda original: 1 / 0):
        owner.call()
    assert owner.call is plain
