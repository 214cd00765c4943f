"""What `sizes` promises."""

from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said


class SizeContract(ContractPart):
    """What `sizes` promises."""

    async def test_a_size_grows_with_the_history_and_with_what_lies_beside_it(self, store: SessionStore) -> None:
        await store.create(info_of())
        (empty,) = await store.sizes([KEY])
        await store.append(KEY, [said("x" * 5000)])
        (grown,) = await store.sizes([KEY])
        await store.write_sidecar(KEY, "checkpoints/1", b"1" * 3000)
        (furnished,) = await store.sizes([KEY])
        assert empty is not None
        assert grown is not None
        assert furnished is not None
        assert empty > 0
        assert 5000 <= grown - empty < 8000  # a codec may write more than it is given
        assert 3000 <= furnished - grown < 5000

    async def test_sizes_come_in_the_order_in_which_they_were_asked_for(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("x" * 900)])
        await store.create(info_of(SessionKey("b", "2")))
        first, missing, second = await store.sizes([KEY, SessionKey("b", "missing"), SessionKey("b", "2")])
        assert missing is None
        assert first is not None
        assert second is not None
        assert first > second
        assert await store.sizes([]) == []
