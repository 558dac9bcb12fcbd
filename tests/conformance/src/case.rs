//! The cases as they are written: files of YAML, each key known, each id there once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use durstream_tests::failure::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::command::Command;
use super::variables::{self, Variables};
use super::{requests, stream, yaml};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What the file's cases are about, for its reader.
    #[allow(dead_code, reason = "required of every file")]
    about: String,
    cases: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    id: String,
    name: String,
    waits_for: Option<String>,
    operations: Vec<Map<String, Value>>,
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) name: String,
    /// What the library cannot do yet and this case needs: it is listed, not run.
    pub(crate) waits_for: Option<String>,
    pub(crate) operations: Vec<Operation>,
}

impl Case {
    /// Whether one of its faults is about connections, not about requests.
    pub(crate) fn breaks_connections(&self) -> bool {
        self.operations.iter().any(|operation| match operation {
            Operation::Step { fields, .. } => {
                let fault = fields.pointer("/rule/fault").and_then(Value::as_str);
                matches!(fault, Some("refuse" | "closed"))
            }
            Operation::Command { .. } => false,
        })
    }
}

/// One line of a case.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Something the adapter does.
    Command {
        name: &'static str,
        fields: Map<String, Value>,
        expect: Expect,
        /// Variables to set from fields of the result.
        save: BTreeMap<String, String>,
    },
    /// Something the runner does, with its variables not filled in yet.
    Step { name: String, fields: Value },
}

impl Operation {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Command { name, .. } => name,
            Self::Step { name, .. } => name,
        }
    }
}

/// What an adapter must answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    /// The error it must fail with; without one it must succeed.
    pub(crate) error: Option<String>,
    /// Texts the error's message must hold.
    pub(crate) says: Vec<Value>,
    /// Texts that may be nowhere in the answer.
    pub(crate) never_says: Vec<Value>,
    /// Fields of the answer with their exact values.
    pub(crate) fields: Map<String, Value>,
}

impl Expect {
    pub(crate) fn filled(&self, variables: &Variables) -> Result<Self> {
        let all = |texts: &[Value]| -> Result<Vec<Value>> {
            texts.iter().map(|text| variables.fill(text)).collect()
        };
        Ok(Self {
            error: self.error.clone(),
            says: all(&self.says)?,
            never_says: all(&self.never_says)?,
            fields: variables.fill_all(&self.fields)?,
        })
    }
}

/// What the runner itself does.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub(crate) enum Step {
    /// Adds a rule to the proxy, as its own documentation describes it.
    Fault { rule: Map<String, Value> },
    /// Takes every rule back.
    ClearFaults {},
    /// Waits until a rule holds a request.
    WaitHeld { name: String },
    /// Lets go what a rule holds.
    Release { name: String },
    /// Ends the adapter by its `shutdown` command, or kills it, and starts it again.
    RestartAdapter {
        #[serde(default)]
        kill: bool,
    },
    /// Appends with plain HTTP, past the proxy.
    ServerAppend {
        path: String,
        content_type: String,
        data: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        status: Option<u16>,
    },
    /// Closes the stream with plain HTTP, past the proxy.
    ServerClose { path: String },
    /// Deletes the stream with plain HTTP, past the proxy.
    ServerDelete { path: String },
    /// Reads the stream back with plain HTTP, past the proxy.
    ExpectStream(stream::Expected),
    /// Looks at what the adapter sent to a path.
    ExpectRequests(requests::Expected),
}

const STEPS: [&str; 10] = [
    "fault",
    "clear-faults",
    "wait-held",
    "release",
    "restart-adapter",
    "server-append",
    "server-close",
    "server-delete",
    "expect-stream",
    "expect-requests",
];
/// Those of them that are not about a stream.
const WITHOUT_PATH: [&str; 5] =
    ["fault", "clear-faults", "wait-held", "release", "restart-adapter"];

/// What any error may have.
const OF_ERRORS: [&str; 2] = ["status", "definite"];

/// Every case of a folder's `*.yaml`, in the order of the file names.
pub(crate) fn load(folder: &Path) -> Result<Vec<Case>> {
    let entries = std::fs::read_dir(folder).context(folder.display())?.flatten();
    let is_yaml = |path: &std::path::PathBuf| path.extension().is_some_and(|name| name == "yaml");
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_yaml).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).context(file.display())?;
        cases.extend(parse(&text).context(file.display())?);
    }
    refuse_repeated(&cases)?;
    if cases.is_empty() {
        Err(format!("{} holds no case", folder.display()).into())
    } else {
        Ok(cases)
    }
}

fn refuse_repeated(cases: &[Case]) -> Result {
    let mut ids = BTreeSet::new();
    match cases.iter().find(|case| !ids.insert(&case.id)) {
        Some(case) => Err(format!("two cases are called {}", case.id).into()),
        None => Ok(()),
    }
}

pub(crate) fn parse(text: &str) -> Result<Vec<Case>> {
    let file: File = serde_json::from_value(yaml::parse(text)?).context("file")?;
    file.cases.into_iter().map(checked).collect()
}

fn checked(raw: RawCase) -> Result<Case> {
    let RawCase { id, name, waits_for, operations } = raw;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || !id.chars().all(is_plain) || operations.is_empty() {
        return Err(format!("case {id:?}: ids are a-z, 0-9 and -, operations at least one").into());
    }
    let mut known: BTreeSet<String> = variables::GIVEN.map(str::to_owned).into();
    let mut checked = Vec::new();
    for (index, fields) in operations.into_iter().enumerate() {
        let place = format!("case {id}, operation {}", index + 1);
        for name in variables::used(&Value::Object(fields.clone())).context(&place)? {
            if !known.contains(&name) {
                return Err(format!("{place}: nothing sets ${{{name}}}").into());
            }
        }
        let operation = operation(fields).context(&place)?;
        if let Operation::Command { save, .. } = &operation {
            known.extend(save.keys().cloned());
        }
        checked.push(operation);
    }
    Ok(Case { id, name, waits_for, operations: checked })
}

fn operation(mut fields: Map<String, Value>) -> Result<Operation> {
    let name: String = match fields.get("action") {
        Some(Value::String(name)) => name.clone(),
        _ => return Err("no action".into()),
    };
    let own_path = || Value::from("${path}");
    if STEPS.contains(&name.as_str()) {
        if !WITHOUT_PATH.contains(&name.as_str()) {
            fields.entry("path").or_insert_with(own_path);
        }
        let fields = Value::Object(fields);
        step(&fields)?; // unknown keys are found before anything runs
        return Ok(Operation::Step { name, fields });
    }
    let command = Command::find(&name).ok_or_else(|| format!("no action {name:?}"))?;
    fields.remove("action");
    let expect = fields.remove("expect").unwrap_or_else(|| Value::Object(Map::new()));
    let save = fields.remove("save").unwrap_or_else(|| Value::Object(Map::new()));
    let save: BTreeMap<String, String> = serde_json::from_value(save).context("save")?;
    let expect = expectation(expect)?;
    let knows = |key: &str| {
        command.results.contains(&key) || (expect.error.is_some() && OF_ERRORS.contains(&key))
    };
    let mut asked = expect.fields.keys().chain(save.values());
    let unknown = fields.keys().find(|key| !command.fields.contains(&key.as_str()));
    let unknown = unknown.or_else(|| asked.find(|key| !knows(key)));
    if let Some(key) = unknown {
        return Err(format!("{name} has no {key:?}").into());
    }
    if command.takes_path() {
        fields.entry("path").or_insert_with(own_path);
    }
    Ok(Operation::Command { name: command.name, fields, expect, save })
}

/// A step of the runner, its variables filled in or not.
pub(crate) fn step(fields: &Value) -> Result<Step> {
    serde_json::from_value(fields.clone()).context("step")
}

fn expectation(value: Value) -> Result<Expect> {
    let Value::Object(mut fields) = value else { return Err("expect is no mapping".into()) };
    let mut list = |name: &str| -> Result<Vec<Value>> {
        match fields.remove(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => Ok(texts),
            Some(_) => Err(format!("{name} is no list of texts").into()),
        }
    };
    let (says, never_says) = (list("says")?, list("neverSays")?);
    let error = match fields.remove("error") {
        None => None,
        Some(Value::String(code)) => Some(code),
        Some(_) => return Err("expect.error is no text".into()),
    };
    let beyond = fields.keys().any(|key| !OF_ERRORS.contains(&key.as_str()));
    match (&error, beyond, says.is_empty()) {
        (Some(_), true, _) => Err("an error has only status, definite, says and neverSays".into()),
        (None, _, false) => Err("says without error".into()),
        _ => Ok(Expect { error, says, never_says, fields }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(operation: &str) -> Result<Vec<Case>> {
        parse(&format!("about: x\ncases:\n- id: a\n  name: A\n  operations:\n  - {operation}\n"))
    }

    fn refusal(operation: &str) -> String {
        one(operation).map(|_| ()).expect_err(operation).to_string()
    }

    #[test]
    fn operations_get_the_path_of_their_case() {
        let cases = one("{action: append, data: x, expect: {status: 200}}").unwrap();
        let Operation::Command { fields, .. } = &cases[0].operations[0] else { panic!() };
        assert_eq!(fields["path"], "${path}");
        assert!(one("{action: expect-stream, messages: ['1'], closed: true}").is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused_wherever_it_is() {
        for wrong in [
            "{action: append, dada: x}",
            "{action: append, data: x, expect: {offzet: '1'}}",
            "{action: append, data: x, expect: {error: CONFLICT, offset: '1'}}",
            "{action: append, data: x, expect: {says: [a]}}",
            "{action: append, data: x, save: {a: offzet}}",
            "{action: expect-stream, mesages: []}",
            "{action: restart-adapter, hard: true}",
            "{action: clear-faults, path: /x}",
            "{action: sleep}",
            "{data: x}",
        ] {
            assert!(refusal(wrong).contains("case a, operation 1"), "{wrong}");
        }
        for wrong in ["about: x\ncases: []\nmore: 1", "about: x\ncases: [{id: a, nam: A}]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_variable_nobody_sets_is_refused() {
        assert!(refusal("{action: append, data: '${first}'}").contains("${first}"));
        let saved = "{action: append, data: x, save: {first: offset}}\n  \
                     - {action: read, offset: '${first}'}";
        assert!(one(saved).is_ok());
    }

    #[test]
    fn an_id_is_there_once() {
        let mut cases = one("{action: clear-faults}").unwrap();
        assert!(refuse_repeated(&cases).is_ok());
        cases.extend(one("{action: clear-faults}").unwrap());
        assert_eq!(refuse_repeated(&cases).unwrap_err().to_string(), "two cases are called a");
    }
}
