"""The official files of CIFAR-10 by their checksums, in both versions.

The SHA-256 of the binary files are of those in the archive with the published MD5
c32a1d4ab5d03f1284b67883e8d87530. Of the files of the python version torchvision publishes the MD5.
"""

from __future__ import annotations

from collections.abc import Mapping

_BINARY = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}

OFFICIAL_CIFAR: Mapping[str, str] = {
    **{f"cifar-10-batches-bin/{name}": f"sha256:{digest}" for name, digest in _BINARY.items()},
    **{f"cifar-10-batches-py/{name}": f"md5:{digest}" for name, digest in _PYTHON.items()},
}
"""``algorithm:digest`` by the path from the data root."""
