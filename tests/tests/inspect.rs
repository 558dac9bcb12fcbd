//! What a state producer would open is what it opens.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use durstream_core::{
    Collection, Options, StreamSchema, Validator, create_durable_stream, inspect,
};
use durstream_tests::{fresh_path, server_url};
use serde_json::json;

#[test]
fn what_is_told_is_what_is_opened() {
    let path = fresh_path("inspect");
    let options = || Options::new().stream_path(&path).producer_id("service");
    let schema =
        || StreamSchema::new().collection("users", Collection::new("user", "id", Validator::Any));
    let told = inspect(options(), schema()).unwrap();
    let opened = create_durable_stream(options(), schema()).unwrap();
    assert_eq!((&told["url"], &told["urls"]), (&json!(opened.url()), &json!([opened.url()])));
    assert_eq!(told["producer_id"], opened.producer_id());
    let server = format!("{}/", server_url().trim_end_matches('/'));
    let expected =
        json!({ "value": server, "from": "environment", "variable": "DURABLE_STREAMS_URL" });
    assert_eq!(told["options"]["endpoints"], expected);
}
