//! A request carries the context of the first event that has one, where the option `trace` is set.

use std::sync::Mutex;

use http::HeaderMap;

use crate::delivery::tests::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The headers of the first request that writes these events.
async fn headers_of(stream: Options, options: Options, events: &[String]) -> HeaderMap {
    let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let kept = seen.clone();
    let transport = Behind(Scripted::default(), move |server: &Scripted, request: Request| {
        lock(&kept).push(HeaderMap::clone(&request.headers));
        server.send(request)
    });
    let runtime = network::for_test(Arc::new(transport), Chance::seeded(0));
    let endpoint = Endpoint::resolve(&stream).unwrap();
    let config = config(Scope::State, &options);
    let engine = Engine::start_on(runtime, endpoint, config, None, None);
    for event in events {
        engine.accept(&[event.as_bytes()]).unwrap();
    }
    engine.flush().await.unwrap();
    assert_eq!(lock(&seen).len(), 1, "one batch");
    lock(&seen).remove(0)
}

fn event(headers: &str) -> String {
    format!(
        r#"{{"type":"t","key":"k","value":{{"traceparent":"in the value"}},"headers":{{{headers}}}}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn the_first_event_that_has_a_context_gives_it_to_the_request() {
    let traced = event(&format!(r#""traceparent":"{PARENT}","tracestate":"a=1""#));
    let later = event(&format!(r#""traceparent":"{}""#, PARENT.replace("0af", "1af")));
    let events = [event(""), traced, later];
    let on = Options::new().trace(true);
    let headers = headers_of(model(), on.clone(), &events).await;
    assert_eq!([&headers["traceparent"], &headers["tracestate"]], [PARENT, "a=1"]);

    let headers = headers_of(model(), Options::new(), &events).await;
    assert!(!headers.contains_key("traceparent"), "the option is not set");
    let headers = headers_of(model(), on.clone(), &events[..1]).await;
    assert!(!headers.contains_key("traceparent"), "no event has one");
    let own = model().header("traceparent", PARENT);
    let headers = headers_of(own, on, &events).await;
    assert!(!headers.contains_key("traceparent"), "the program gives its own");
}
