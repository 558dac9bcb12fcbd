//! What Node-API needs from the linker.

fn main() {
    napi_build::setup();
}
