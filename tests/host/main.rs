//! What a host of a cluster runs beside its trees: real processes, one host.
#![cfg(feature = "hosts")]

mod fence;
mod placed;
