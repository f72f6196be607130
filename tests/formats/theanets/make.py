"""Let theanets save a network, for the tests: ``python make.py SOURCE VERSION OUT`` (Python 2.7 or 3.11)."""

import collections
import logging
import os
import sys
import types

os.environ["THEANO_FLAGS"] = "floatX=float32,cxx=,blas.ldflags=,mode=FAST_COMPILE"


class Anything:
    def __getattr__(self, name):
        return lambda *args, **kwargs: Anything()


climate = types.ModuleType("climate")
climate.get_logger = logging.getLogger
for name in ("add_arg", "add_group", "add_arg_group", "parse_args", "enable_default_logging"):
    setattr(climate, name, lambda *args, **kwargs: Anything())
sys.modules["climate"] = climate
if not hasattr(collections, "Callable"):
    from collections import abc

    collections.Callable, collections.Iterable = abc.Callable, abc.Iterable

import numpy as np  # noqa: E402  # after the stand-ins


def main(source, version, out):
    sys.path.insert(0, source)
    import theanets

    np.random.seed(3)
    if version < "0.5":
        net = theanets.Classifier(layers=[4, 6, 3], hidden_activation="tanh")
    else:
        net = theanets.Classifier(layers=[4, (6, "tanh"), (5, "relu"), 3])
    x = np.random.RandomState(0).randn(7, 4).astype("f4")
    p = net.predict_proba(x) if hasattr(net, "predict_proba") else net.predict(x)
    p = p if np.ndim(p) > 1 else net.feed_forward(x)[-1]
    np.savez(out.replace(".pkl.gz", ".npz"), x=x, p=np.asarray(p))
    net.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
