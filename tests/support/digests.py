"""Digests of the code as it is, beside those of commit f209ce1.

python -m tests.support.digests    prints the table `EARLIER` of `rooney.strategy.digest`
"""

from rooney.config.loader import load_config
from rooney.engine.build import build_engine
from rooney.features.kernel_registry import KERNELS
from rooney.strategy.digest import EARLIER, SHORT, tree
from tests.support.paths import ROOT


def table() -> dict[str, str]:
    """`EARLIER` with today's digests."""
    config = load_config(ROOT / "config.multi_alpha.yml", environ={})
    step = build_engine(config.strategy("ibs")).compiled.digests.code
    return {was: now[:SHORT] for was, now in zip(EARLIER, (tree().kernels(KERNELS), step), strict=True)}


if __name__ == "__main__":
    for was, now in table().items():
        print(f'    "{was}": "{now}",')
