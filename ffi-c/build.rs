//! What the shared library says of itself to the linker and the loader.

/// Raised with every change that old programs cannot take.
const ABI: &str = "0";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let family = std::env::var("CARGO_CFG_TARGET_FAMILY").unwrap_or_default();
    if system == "macos" {
        link(&format!("-Wl,-install_name,@rpath/libdurstream.{ABI}.dylib"));
    } else if family == "unix" {
        link(&format!("-Wl,-soname,libdurstream.so.{ABI}"));
        // Threads and fork handlers point into the library: `dlclose` must not unmap it.
        link("-Wl,-z,nodelete");
    }
}

fn link(argument: &str) {
    println!("cargo:rustc-cdylib-link-arg={argument}");
}
