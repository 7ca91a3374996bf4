//! The kinds of models that tests go through.

/// A kind of model: what its settings have beside its sizes.
pub type Kind = &'static str;

/// Every kind that the documented family has.
pub const EVERY_KIND: [Kind; 19] = [
    "update=documented",
    "update=original",
    "update=documented supervision=every output_norm=true",
    "update=documented gates=vector",
    "update=documented constraint_weight=0.5 constraint_schedule=linear",
    "update=original supervision=every constraint_weight=2 constraint_kinds=row,box",
    "state=candidate mixing=unit_mean update=single output_layers=0 supervision=every constraint_weight=1",
    "update=original gates=vector",
    "state=cell mixing=unit_mean update=documented supervision=every output_norm=true state_norm=true",
    "state=candidate mixing=unit_mean update=original",
    "state=candidate mixing=unit_mean update=original gates=vector",
    "state=candidate mixing=unit_mean update=single output_layers=0 supervision=every output_norm=true state_norm=true",
    "state=open_candidate mixing=unit_mean update=documented",
    "state=open_candidate mixing=unit_mean update=single output_layers=0 supervision=every output_norm=true state_norm=true \
     constraint_weight=1",
    "state=cell mixing=attention positions=rotary update=documented gates=vector",
    "state=cell mixing=unit_attention positions=units feedback=true update=original gates=vector",
    "state=cell mixing=unit_attention positions=rotary feedback=true update=single output_layers=0 supervision=every \
     output_norm=true state_norm=true",
    "state=cell mixing=token_mlp positions=learned update=documented",
    "state=cell mixing=token_mlp positions=learned update=original gates=vector",
];
