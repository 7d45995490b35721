//! Finds out which libzmq is below us: `zmq-sys` of this workspace has gates before sockets, the published one has not.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(zmq_gate)");
    // Said by the build script of `zmq-sys` of this workspace.
    if std::env::var_os("DEP_ZMQ_GATE").is_some() {
        println!("cargo:rustc-cfg=zmq_gate");
    }
}
