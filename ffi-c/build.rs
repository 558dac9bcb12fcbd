//! What the shared library says of itself to the linker and the loader.

/// Which versions old programs run with: any that says the same here. Before 1.0 a minor version may
/// break them, from 1.0 on a major one.
fn abi() -> String {
    match (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR")) {
        ("0", minor) => format!("0.{minor}"),
        (major, _) => major.to_owned(),
    }
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let abi = abi();
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let family = std::env::var("CARGO_CFG_TARGET_FAMILY").unwrap_or_default();
    if system == "macos" {
        link(&format!("-Wl,-install_name,@rpath/libdurstream.{abi}.dylib"));
    } else if family == "unix" {
        link(&format!("-Wl,-soname,libdurstream.so.{abi}"));
        // Threads and fork handlers point into the library: `dlclose` must not unmap it.
        link("-Wl,-z,nodelete");
    }
}

fn link(argument: &str) {
    println!("cargo:rustc-cdylib-link-arg={argument}");
}
