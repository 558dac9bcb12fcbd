//! YAML text as JSON values, strictly: string keys, no tags, and (by saphyr) no key twice.

use durstream_tests::failure::{Context, Result};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Number, Value};

/// The one document of a text.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let documents = Yaml::load_from_str(text).context("YAML")?;
    match documents.as_slice() {
        [document] => json(document),
        others => Err(format!("{} YAML documents where one is expected", others.len()).into()),
    }
}

fn json(yaml: &Yaml<'_>) -> Result<Value> {
    match yaml {
        Yaml::Value(scalar) => scalar_json(scalar),
        Yaml::Sequence(items) => items.iter().map(json).collect::<Result<_>>().map(Value::Array),
        Yaml::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| {
                let name = key.as_str().ok_or_else(|| format!("a key that is no text: {key:?}"))?;
                Ok((name.to_owned(), json(value).context(name)?))
            })
            .collect::<Result<_>>()
            .map(Value::Object),
        other => Err(format!("YAML that has no place here: {other:?}").into()),
    }
}

fn scalar_json(scalar: &Scalar<'_>) -> Result<Value> {
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(flag) => Value::Bool(*flag),
        Scalar::Integer(number) => Value::from(*number),
        Scalar::FloatingPoint(number) => {
            let number = Number::from_f64(number.into_inner());
            Value::Number(number.ok_or("a number JSON does not have")?)
        }
        Scalar::String(text) => Value::from(text.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_kept() {
        let value = parse("a: 1\nb: '1'\nc: [true, null, 1.5]\nd: |\n  x\n").unwrap();
        assert_eq!(value, json!({"a": 1, "b": "1", "c": [true, null, 1.5], "d": "x\n"}));
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for text in ["a: 1\na: 2", "1: x", "a: !x y", "a: 1\n---\nb: 2", "a: .inf", "a: [", ""] {
            assert!(parse(text).is_err(), "{text:?} was taken");
        }
    }
}
