//! What a harness needs before it runs. It says so itself, and `cargo xtask` builds it: the harness
//! knows its cases, xtask how things are built.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::failure::{Context, Result};

/// Something to build or install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The official server, installed.
    Server,
    /// The server of which several nodes make one, installed.
    Cluster,
    /// The programs of a package of the workspace, optimised.
    RustPrograms(String),
    /// A program in C or C++, and the staged library.
    CProgram(CProgram),
    /// The wheel in its virtual environment.
    PythonPackage,
    /// The npm package, and Node.
    NodePackage,
    /// What the `package-lock.json` of a folder names, and Node.
    NpmPackages {
        /// What a person is told that it is.
        title: String,
        /// Relative to the repository.
        folder: String,
    },
    /// A virtual environment of its own.
    PythonEnvironment {
        /// What a person is told that it is.
        title: String,
        /// Relative to the target directory.
        folder: String,
        /// The file that names what is in it, relative to the repository.
        requirements: String,
    },
}

/// A program in C or C++ against the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CProgram {
    /// What a person is told that it is.
    pub title: String,
    /// A file, or a folder of which every `.c` is taken, relative to the repository.
    pub source: String,
    /// Without a suffix, relative to the target directory.
    pub program: String,
}

impl CProgram {
    /// One of the library's examples, by the name of its file.
    pub fn example(language: &str, file: &str) -> Self {
        let noun = file.split('.').next().unwrap_or(file);
        Self {
            title: format!("{language} {noun}"),
            source: format!("ffi-c/examples/{file}"),
            program: format!("examples/{}", file.replace('.', "-")),
        }
    }

    /// The program, relative to the target directory.
    pub fn path(&self) -> PathBuf {
        format!("{}{}", self.program, std::env::consts::EXE_SUFFIX).into()
    }
}

impl Need {
    fn to_value(&self) -> Value {
        match self {
            Self::Server => json!(["server"]),
            Self::Cluster => json!(["cluster"]),
            Self::RustPrograms(package) => json!(["rust", package]),
            Self::CProgram(CProgram { title, source, program }) => {
                json!(["c", title, source, program])
            }
            Self::PythonPackage => json!(["python"]),
            Self::NodePackage => json!(["node"]),
            Self::NpmPackages { title, folder } => json!(["npm", title, folder]),
            Self::PythonEnvironment { title, folder, requirements } => {
                json!(["venv", title, folder, requirements])
            }
        }
    }

    fn from_words(words: Vec<String>) -> Result<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match words[..] {
            ["server"] => Self::Server,
            ["cluster"] => Self::Cluster,
            ["rust", package] => Self::RustPrograms(package.into()),
            ["c", title, source, program] => Self::CProgram(CProgram {
                title: title.into(),
                source: source.into(),
                program: program.into(),
            }),
            ["python"] => Self::PythonPackage,
            ["node"] => Self::NodePackage,
            ["npm", title, folder] => {
                Self::NpmPackages { title: title.into(), folder: folder.into() }
            }
            ["venv", title, folder, requirements] => Self::PythonEnvironment {
                title: title.into(),
                folder: folder.into(),
                requirements: requirements.into(),
            },
            _ => return Err(format!("nobody knows how to build {words:?}").into()),
        })
    }
}

/// The line of JSON that says what is needed.
pub fn write(needs: &[Need]) -> String {
    Value::Array(needs.iter().map(Need::to_value).collect()).to_string()
}

/// What such a line says.
///
/// # Errors
/// For a line that is none.
pub fn read(line: &str) -> Result<Vec<Need>> {
    let needs: Vec<Vec<String>> = serde_json::from_str(line).context(format!("needs {line:?}"))?;
    needs.into_iter().map(Need::from_words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let needs = [
            Need::Server,
            Need::Cluster,
            Need::RustPrograms("a".into()),
            Need::CProgram(CProgram::example("C++", "shipments.cpp")),
            Need::PythonPackage,
            Need::NodePackage,
            Need::NpmPackages { title: "a \"b\"".into(), folder: "tests/comparison".into() },
            Need::PythonEnvironment {
                title: "a".into(),
                folder: "b/c".into(),
                requirements: "d\n".into(),
            },
        ];
        assert_eq!(read(&write(&needs)).unwrap(), needs);
        for wrong in ["", "[]x", "[[\"c\"]]", "[[\"go\"]]", "[[1]]", "{}"] {
            assert!(read(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
