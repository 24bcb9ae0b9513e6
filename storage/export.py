"""`reelmill export`: a feature store in the other format, under another root."""

from reelmill.storage.errors import InputError
from reelmill.storage.features import open_store, present
from reelmill.storage.place import AnyRoot, address
from reelmill.storage.shards import Format
from reelmill.storage.writer import FeatureWriter, features_folder


def export(root: AnyRoot, name: str, to: AnyRoot, format: Format) -> int:
    """Copy the newest block of every video of a store into the same store under the root `to`; return how many.

    Blocks that are there already are skipped, so an interrupted export resumes where it stopped. Shards are verified
    first, since the copy gets a checksum of its own. Raises CorruptPart, InputError.
    """
    if address(features_folder(root)) == address(features_folder(to)):
        raise InputError(f"cannot export {str(root)!r} to itself; name another folder, which becomes a root")
    store = open_store(root, name)
    if wrong := store.verify():
        raise wrong[0]
    copied = 0
    with FeatureWriter(to, store.spec, format) as writer:
        for block in store.blocks(without=present(to, store.spec)):
            writer.add(block)
            copied += 1
    return copied
