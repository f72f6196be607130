"""How networks are trained.

`from_scratch` trains a small network, `backbone_training` one that is trained already together with a new head. Both
hand their step to the same `loop`, which keeps its `state` in a folder and ends at an `interruption`. A step minimises
an `objective` with an `optimiser` on `batches`, whose pictures `augment` varies. `settings` says how to train a
backbone, `parameters` which of its parameters move, and `importance` measures how much each of them matters.
"""
