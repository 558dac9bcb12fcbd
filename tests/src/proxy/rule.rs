//! Rules: which requests get which fault.

use serde_json::{Map, Value};

use super::wire::Head;
use crate::failure::Result;
use crate::random::Random;

/// The number of a rule, to remove it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId(pub u64);

/// What happens to a request or a connection. The table is in the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The connection is accepted and reset before a byte is read.
    Refuse,
    /// Nobody listens until the rule is removed, or for a time.
    Closed {
        /// How long; `None` is until the rule is removed.
        for_ms: Option<u64>,
    },
    /// The head is read and the connection reset; nothing is forwarded.
    ResetBefore,
    /// Part of the request is forwarded, then both connections are reset.
    ResetWithin {
        /// How many bytes of the body get through.
        bytes: u64,
    },
    /// The server answers in full; the client is reset and sees nothing of it.
    ResetAfter,
    /// Part of the server's answer gets through.
    CutAnswer {
        /// Where it is cut.
        at: Cut,
        /// End the connection in order, in place of a reset.
        close: bool,
    },
    /// The client gets no answer for as long as it waits.
    Stall {
        /// Whether the server gets the request.
        forward: bool,
    },
    /// The request goes on after a time, whole, even when its sender gave up meanwhile.
    Delay {
        /// How long.
        ms: u64,
        /// Where it waits.
        before: Moment,
    },
    /// The request waits until [`super::Proxy::release`].
    Hold {
        /// The name to release it by.
        name: String,
        /// Where it waits.
        before: Moment,
    },
    /// An answer of ours.
    Answer {
        /// The status.
        status: u16,
        /// Headers; `Content-Length` is added.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
        /// Whether the server gets the request; its answer is dropped.
        forward: bool,
    },
    /// Adds to the round trip; goes together with any other fault.
    Latency {
        /// How much, one half on each way.
        ms: u64,
    },
}

/// Where an answer is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// After so many bytes of its head.
    Head(usize),
    /// After its head and so many bytes of its body.
    Body(u64),
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the server gets it.
    Forward,
    /// Before the client gets the server's answer.
    Answer,
}

impl Fault {
    /// The name in rules and in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Refuse => "refuse",
            Fault::Closed { .. } => "closed",
            Fault::ResetBefore => "reset-before",
            Fault::ResetWithin { .. } => "reset-within",
            Fault::ResetAfter => "reset-after",
            Fault::CutAnswer { .. } => "cut-answer",
            Fault::Stall { .. } => "stall",
            Fault::Delay { .. } => "delay",
            Fault::Hold { .. } => "hold",
            Fault::Answer { .. } => "answer",
            Fault::Latency { .. } => "latency",
        }
    }

    /// Whether it happens to connections, before there is a request.
    pub(super) fn is_for_connections(&self) -> bool {
        matches!(self, Fault::Refuse | Fault::Closed { .. })
    }
}

/// A fault and the requests it is for: those that match all that is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What happens.
    pub fault: Fault,
    /// Only requests with this method.
    pub method: Option<String>,
    /// Only requests whose path with query contains this.
    pub path: Option<String>,
    /// Only requests with this header, and with this value where one is given.
    pub header: Option<(String, Option<String>)>,
    /// Only requests whose body contains this.
    pub body: Option<String>,
    /// Only requests that announce a body of at least so many bytes.
    pub min_bytes: u64,
    /// How often, 0 is always.
    pub times: u64,
    /// How many matching requests are left alone first.
    pub skip: u64,
    /// How likely each match is hit, from 0 to 1.
    pub probability: Option<f64>,
}

impl Rule {
    /// A fault for the next request, or for every one if it is `latency`.
    pub fn new(fault: Fault) -> Self {
        let times = u64::from(!matches!(fault, Fault::Latency { .. }));
        let (method, path, header, body, probability) = (None, None, None, None, None);
        Self { fault, method, path, header, body, min_bytes: 0, times, skip: 0, probability }
    }

    /// Only requests with this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path with query contains this.
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only requests with this header.
    pub fn header(mut self, name: &str) -> Self {
        self.header = Some((name.to_owned(), None));
        self
    }

    /// Only requests with this header and value.
    pub fn header_value(mut self, name: &str, value: &str) -> Self {
        self.header = Some((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Only requests whose body contains this.
    pub fn body(mut self, part: &str) -> Self {
        self.body = Some(part.to_owned());
        self
    }

    /// Only requests that announce a body of at least so many bytes.
    pub fn min_bytes(mut self, bytes: u64) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// How often, 0 is always.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// How many matching requests are left alone first.
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// How likely each match is hit.
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// A rule from its JSON form; a field that means nothing is an error.
    pub fn from_json(value: &Value) -> Result<Self> {
        let object = value.as_object().ok_or_else(|| format!("a rule is an object: {value}"))?;
        let mut fields = Fields(object.clone());
        let fault = fault(&mut fields)?;
        let mut rule = Rule::new(fault);
        rule.method = fields.text("method")?;
        rule.path = fields.text("path")?;
        let header_value = fields.text("header_value")?;
        rule.header = fields.text("header")?.map(|name| (name, header_value.clone()));
        if header_value.is_some() && rule.header.is_none() {
            return Err("`header_value` goes with `header`".into());
        }
        rule.body = fields.text("with_body")?;
        rule.min_bytes = fields.number("min_bytes")?.unwrap_or_default();
        rule.times = fields.number("times")?.unwrap_or(rule.times);
        rule.skip = fields.number("skip")?.unwrap_or_default();
        rule.probability = fields.fraction("probability")?;
        fields.end(rule.fault.name())?;
        rule.check()?;
        Ok(rule)
    }

    /// Refuses what can never happen.
    pub(super) fn check(&self) -> Result {
        let asks = self.method.is_some() || self.path.is_some() || self.header.is_some();
        let asks = asks || self.body.is_some() || self.min_bytes > 0;
        if self.fault.is_for_connections() && asks {
            let name = self.fault.name();
            return Err(format!("`{name}` happens before there is a request to match").into());
        }
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err("`probability` is a number from 0 to 1".into());
        }
        Ok(())
    }

    fn matches(&self, head: Option<&Head>, body: &[u8]) -> bool {
        let Some(head) = head else { return matches!(self.fault, Fault::Refuse) };
        let is = |wanted: &Option<String>, there: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(there)
        };
        !self.fault.is_for_connections()
            && is(&self.method, &|method| head.method().eq_ignore_ascii_case(method))
            && is(&self.path, &|part| head.target().contains(part))
            && self.header.as_ref().is_none_or(|(name, wanted)| match head.header(name) {
                Some(value) => wanted.as_deref().is_none_or(|wanted| wanted == value),
                None => false,
            })
            && (self.min_bytes == 0 || head.length().is_some_and(|it| it >= self.min_bytes))
            && self.body.as_ref().is_none_or(|part| contains(body, part.as_bytes()))
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    part.is_empty() || body.windows(part.len()).any(|window| window == part)
}

fn fault(fields: &mut Fields) -> Result<Fault> {
    let name = fields.text("fault")?.ok_or("a rule names its `fault`")?;
    Ok(match name.as_str() {
        "refuse" => Fault::Refuse,
        "closed" => Fault::Closed { for_ms: fields.number("for_ms")? },
        "reset-before" => Fault::ResetBefore,
        "reset-within" => Fault::ResetWithin { bytes: fields.number("bytes")?.unwrap_or_default() },
        "reset-after" => Fault::ResetAfter,
        "cut-answer" => {
            let at = match (fields.number("head_bytes")?, fields.number("bytes")?) {
                (None, bytes) => Cut::Body(bytes.unwrap_or_default()),
                (Some(bytes), None) => Cut::Head(usize::try_from(bytes).unwrap_or(usize::MAX)),
                _ => return Err("either `bytes` or `head_bytes`".into()),
            };
            Fault::CutAnswer { at, close: fields.flag("close")?.unwrap_or(false) }
        }
        "stall" => Fault::Stall { forward: fields.flag("forward")?.unwrap_or(true) },
        "delay" => Fault::Delay { ms: fields.needed("ms")?, before: moment(fields)? },
        "hold" => {
            let name = fields.text("name")?.ok_or("`hold` has a `name`")?;
            Fault::Hold { name, before: moment(fields)? }
        }
        "answer" => {
            let status = fields.needed("status")?;
            let status = u16::try_from(status).ok().filter(|s| (200..600).contains(s));
            Fault::Answer {
                status: status.ok_or("`status` is a number from 200 to 599")?,
                headers: fields.texts("headers")?,
                body: fields.text("body")?.unwrap_or_default(),
                forward: fields.flag("forward")?.unwrap_or(false),
            }
        }
        "latency" => Fault::Latency { ms: fields.needed("ms")? },
        other => return Err(format!("there is no fault `{other}`").into()),
    })
}

fn moment(fields: &mut Fields) -> Result<Moment> {
    match fields.text("before")?.as_deref() {
        None | Some("forward") => Ok(Moment::Forward),
        Some("answer") => Ok(Moment::Answer),
        Some(other) => Err(format!("`before` is forward or answer, not `{other}`").into()),
    }
}

/// The fields of a rule that were not taken yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn take<T>(
        &mut self,
        name: &str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.0.remove(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let wrong = || format!("`{name}` is {what}, not {value}").into();
        read(&value).map(Some).ok_or_else(wrong)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name, "text", |value| value.as_str().map(str::to_owned))
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>> {
        self.take(name, "a whole number", Value::as_u64)
    }

    fn fraction(&mut self, name: &str) -> Result<Option<f64>> {
        self.take(name, "a number", Value::as_f64)
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        self.take(name, "true or false", Value::as_bool)
    }

    fn needed(&mut self, name: &str) -> Result<u64> {
        self.number(name)?.ok_or_else(|| format!("`{name}` is missing").into())
    }

    fn texts(&mut self, name: &str) -> Result<Vec<(String, String)>> {
        let pairs = |value: &Value| {
            let pair = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
            value.as_object()?.iter().map(pair).collect::<Option<Vec<_>>>()
        };
        Ok(self.take(name, "an object of texts", pairs)?.unwrap_or_default())
    }

    fn end(&self, fault: &str) -> Result {
        match self.0.keys().next() {
            Some(name) => Err(format!("`{name}` means nothing in a rule for `{fault}`").into()),
            None => Ok(()),
        }
    }
}

/// What the rules say about one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) latency_ms: u64,
    pub(super) fault: Option<Fault>,
    /// The rules that fired.
    pub(super) fired: Vec<(u64, &'static str)>,
}

/// The rules there are, in the order in which they were added.
#[derive(Debug)]
pub(super) struct Rules {
    list: Vec<Active>,
    next: u64,
    random: Random,
    fired: u64,
}

#[derive(Debug)]
struct Active {
    id: u64,
    rule: Rule,
    skipped: u64,
    fired: u64,
}

impl Rules {
    pub(super) fn new(seed: u64) -> Self {
        Self { list: Vec::new(), next: 1, random: Random::new(seed), fired: 0 }
    }

    pub(super) fn add(&mut self, rule: Rule) -> RuleId {
        let id = self.next;
        self.next += 1;
        self.list.push(Active { id, rule, skipped: 0, fired: 0 });
        RuleId(id)
    }

    pub(super) fn remove(&mut self, id: RuleId) -> Option<Rule> {
        let index = self.list.iter().position(|active| active.id == id.0)?;
        Some(self.list.remove(index).rule)
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// Whether the bodies of such requests have to be there for [`Rules::decide`].
    pub(super) fn ask_for_bodies(&self) -> bool {
        self.list.iter().any(|active| active.rule.body.is_some())
    }

    /// How often any rule fired, those that were removed included.
    pub(super) fn fired(&self) -> u64 {
        self.fired
    }

    /// The first rule that fires takes the request; rules after it do not see it, but for
    /// `latency`, which goes with everything. No head: a connection that was just accepted.
    pub(super) fn decide(&mut self, head: Option<&Head>, body: &[u8]) -> Plan {
        let mut plan = Plan::default();
        for active in &mut self.list {
            let rule = &active.rule;
            let latency = matches!(rule.fault, Fault::Latency { .. });
            let spent = rule.times > 0 && active.fired >= rule.times;
            if spent || (plan.fault.is_some() && !latency) || !rule.matches(head, body) {
                continue;
            }
            if active.skipped < rule.skip {
                active.skipped += 1;
                continue;
            }
            if rule.probability.is_some_and(|p| self.random.fraction() >= p) {
                continue;
            }
            active.fired += 1;
            self.fired += 1;
            plan.fired.push((active.id, rule.fault.name()));
            match rule.fault {
                Fault::Latency { ms } => plan.latency_ms += ms,
                _ => plan.fault = Some(rule.fault.clone()),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head(text: &str) -> Head {
        Head::read(&mut format!("{text}\r\n\r\n").as_bytes()).unwrap().unwrap()
    }

    fn fault_of(rules: &mut Rules, head: &Head) -> Option<Fault> {
        rules.decide(Some(head), b"").fault
    }

    #[test]
    fn a_rule_picks_its_requests() {
        let rule = json!({ "fault": "reset-before", "method": "post", "path": "/x?a", "times": 2,
            "header": "producer-seq", "header_value": "7", "skip": 1 });
        let mut rules = Rules::new(1);
        rules.add(Rule::from_json(&rule).unwrap());
        for other in [
            "GET /x?a HTTP/1.1\r\nProducer-Seq: 7",
            "POST /y?a HTTP/1.1\r\nProducer-Seq: 7",
            "POST /x?a HTTP/1.1\r\nProducer-Seq: 70",
            "POST /x?a HTTP/1.1\r\nX: 7",
        ] {
            assert_eq!(fault_of(&mut rules, &head(other)), None, "{other}");
        }
        let hit = head("POST /x?a=1 HTTP/1.1\r\nProducer-Seq: 7");
        let faults: Vec<_> = (0..4).map(|_| fault_of(&mut rules, &hit).is_some()).collect();
        assert_eq!(faults, [false, true, true, false]);
    }

    #[test]
    fn a_rule_picks_bodies() {
        let rule = json!({ "fault": "answer", "status": 413, "times": 0, "min_bytes": 10 });
        let mut rules = Rules::new(1);
        rules.add(Rule::from_json(&rule).unwrap());
        let post = |length| head(&format!("POST / HTTP/1.1\r\nContent-Length: {length}"));
        assert!(fault_of(&mut rules, &post(10)).is_some());
        assert!(fault_of(&mut rules, &post(9)).is_none());
        assert!(fault_of(&mut rules, &head("POST / HTTP/1.1")).is_none());
        assert!(!rules.ask_for_bodies());
        let rule = json!({ "fault": "answer", "status": 400, "times": 0, "with_body": "bad" });
        rules.add(Rule::from_json(&rule).unwrap());
        assert!(rules.ask_for_bodies());
        assert!(rules.decide(Some(&post(5)), b"a bad").fault.is_some());
        assert!(rules.decide(Some(&post(5)), b"a ba").fault.is_none());
        assert_eq!(rules.fired(), 2);
    }

    #[test]
    fn the_first_takes_the_request_and_latency_goes_with_it() {
        let mut rules = Rules::new(1);
        let first = rules.add(Rule::new(Fault::ResetBefore));
        rules.add(Rule::new(Fault::ResetAfter));
        rules.add(Rule::new(Fault::Latency { ms: 4 }));
        rules.add(Rule::new(Fault::Refuse));
        let get = head("GET / HTTP/1.1");
        let plan = rules.decide(Some(&get), b"");
        assert_eq!((plan.fault, plan.latency_ms), (Some(Fault::ResetBefore), 4));
        assert_eq!(plan.fired, [(first.0, "reset-before"), (3, "latency")]);
        assert_eq!(fault_of(&mut rules, &get), Some(Fault::ResetAfter));
        assert_eq!(rules.decide(None, b"").fault, Some(Fault::Refuse));
        let plan = rules.decide(Some(&get), b"");
        assert_eq!((plan.fault, plan.latency_ms), (None, 4));
    }

    #[test]
    fn a_seed_repeats_its_choices() {
        let choices = |seed| {
            let mut rules = Rules::new(seed);
            rules.add(Rule::new(Fault::ResetBefore).times(0).probability(0.25));
            let get = head("GET / HTTP/1.1");
            (0..400).map(|_| fault_of(&mut rules, &get).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
        let hits = choices(7).into_iter().filter(|hit| *hit).count();
        assert!((60..140).contains(&hits), "{hits} of 400 at a quarter");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for rule in [
            json!(1),
            json!({}),
            json!({ "fault": "explode" }),
            json!({ "fault": "stall", "forward": "no" }),
            json!({ "fault": "stall", "bytes": 1 }),
            json!({ "fault": "delay" }),
            json!({ "fault": "delay", "ms": -1 }),
            json!({ "fault": "hold" }),
            json!({ "fault": "hold", "name": "a", "before": "lunch" }),
            json!({ "fault": "answer", "status": 99 }),
            json!({ "fault": "answer", "status": 500, "headers": { "a": 1 } }),
            json!({ "fault": "cut-answer", "bytes": 1, "head_bytes": 1 }),
            json!({ "fault": "refuse", "path": "/x" }),
            json!({ "fault": "refuse", "min_bytes": 1 }),
            json!({ "fault": "closed", "with_body": "x" }),
            json!({ "fault": "reset-after", "probability": 2 }),
            json!({ "fault": "reset-after", "header_value": "x" }),
        ] {
            assert!(Rule::from_json(&rule).is_err(), "{rule} was taken");
        }
    }
}
