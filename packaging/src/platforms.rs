//! The platforms there are packages for.

use std::path::Path;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// As npm packages are called behind `durstream-`, and `--platform` takes it.
    pub(crate) name: &'static str,
    /// Rust's name.
    pub(crate) triple: &'static str,
    /// Node's names.
    pub(crate) os: &'static str,
    pub(crate) cpu: &'static str,
    pub(crate) libc: Option<&'static str>,
    /// How it is built here; those without are built where they run.
    pub(crate) here: Option<Here>,
}

/// What a build on Linux for another Linux takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Here {
    /// Zig's name, with the oldest C library.
    pub(crate) zig: &'static str,
    /// What pip is told.
    pub(crate) wheel: &'static str,
    /// Debian's folder of libraries, and what archives are called.
    pub(crate) multiarch: &'static str,
    /// Debian's name of the processor; musl is none of Debian's systems.
    pub(crate) debian: Option<&'static str>,
}

impl Here {
    /// The platform of its wheels, as pip is told.
    pub(crate) fn wheel_platform(&self) -> String {
        let cpu = self.multiarch.split('-').next().unwrap_or_default();
        format!("{}_{cpu}", self.wheel)
    }
}

const fn elsewhere(
    name: &'static str,
    triple: &'static str,
    os: &'static str,
    cpu: &'static str,
) -> Platform {
    Platform { name, triple, os, cpu, libc: None, here: None }
}

/// The oldest C library that programs of a `gnu` platform find: that of 2014.
pub(crate) const OLDEST_GLIBC: (u32, u32) = (2, 17);

/// All of them; the loader of the npm package names the same, which a test compares.
pub(crate) const PLATFORMS: [Platform; 8] = [
    Platform {
        name: "linux-x64-gnu",
        triple: "x86_64-unknown-linux-gnu",
        os: "linux",
        cpu: "x64",
        libc: Some("glibc"),
        here: Some(Here {
            zig: "x86_64-linux-gnu.2.17",
            wheel: "manylinux2014",
            multiarch: "x86_64-linux-gnu",
            debian: Some("amd64"),
        }),
    },
    Platform {
        name: "linux-x64-musl",
        triple: "x86_64-unknown-linux-musl",
        os: "linux",
        cpu: "x64",
        libc: Some("musl"),
        here: Some(Here {
            zig: "x86_64-linux-musl",
            wheel: "musllinux_1_2",
            multiarch: "x86_64-linux-musl",
            debian: None,
        }),
    },
    Platform {
        name: "linux-arm64-gnu",
        triple: "aarch64-unknown-linux-gnu",
        os: "linux",
        cpu: "arm64",
        libc: Some("glibc"),
        here: Some(Here {
            zig: "aarch64-linux-gnu.2.17",
            wheel: "manylinux2014",
            multiarch: "aarch64-linux-gnu",
            debian: Some("arm64"),
        }),
    },
    Platform {
        name: "linux-arm64-musl",
        triple: "aarch64-unknown-linux-musl",
        os: "linux",
        cpu: "arm64",
        libc: Some("musl"),
        here: Some(Here {
            zig: "aarch64-linux-musl",
            wheel: "musllinux_1_2",
            multiarch: "aarch64-linux-musl",
            debian: None,
        }),
    },
    elsewhere("darwin-x64", "x86_64-apple-darwin", "darwin", "x64"),
    elsewhere("darwin-arm64", "aarch64-apple-darwin", "darwin", "arm64"),
    elsewhere("win32-x64-msvc", "x86_64-pc-windows-msvc", "win32", "x64"),
    elsewhere("win32-arm64-msvc", "aarch64-pc-windows-msvc", "win32", "arm64"),
];

impl Platform {
    /// The npm package with its addon.
    pub(crate) fn npm(&self) -> String {
        format!("durstream-{}", self.name)
    }

    pub(crate) fn is_musl(&self) -> bool {
        self.libc == Some("musl")
    }

    /// Whether programs for it run here as they are.
    pub(crate) fn is_host(&self) -> bool {
        let cpu = match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => other,
        };
        let os = match std::env::consts::OS {
            "macos" => "darwin",
            "windows" => "win32",
            other => other,
        };
        let host_is_musl = cfg!(target_env = "musl") || Path::new("/etc/alpine-release").exists();
        (self.os, self.cpu) == (os, cpu) && self.is_musl() == host_is_musl
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]
mod tests {
    use super::*;
    use durstream_tests::tree::Tree;

    fn file(name: &str) -> String {
        std::fs::read_to_string(Tree::find().unwrap().root.join("bindings-node").join(name))
            .unwrap()
    }

    fn loader() -> String {
        file("lib/addon.cts")
    }

    /// It cannot read them where it is bundled.
    #[test]
    fn the_loader_has_the_versions_of_its_package() {
        let manifest: serde_json::Value = serde_json::from_str(&file("package.json")).unwrap();
        let oldest = manifest["engines"]["node"].as_str().unwrap().trim_start_matches(">=");
        assert!(loader().contains(&format!("const version = {};", manifest["version"])));
        assert!(loader().contains(&format!("const oldestNode = {oldest};")), "not {oldest}");
    }

    /// The loader names each package in a literal of its own, for bundlers.
    #[test]
    fn the_loader_knows_the_same_platforms() {
        let text = loader();
        let mut loaded: Vec<&str> = text
            .split("require(\"durstream-")
            .skip(1)
            .map(|rest| &rest[..rest.find('"').unwrap()])
            .collect();
        loaded.sort_unstable();
        let mut names = PLATFORMS.map(|platform| platform.name);
        names.sort_unstable();
        assert_eq!(loaded, names);
    }
}
