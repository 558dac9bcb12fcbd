//! Looks into outboxes, for people: reads files, takes no lock, changes nothing. A producer may be
//! at work meanwhile.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::amount;
use crate::outbox::about::{ABOUT, About};
use crate::outbox::control::{self, Known};
use crate::outbox::disk::Disk;
use crate::outbox::format::{Header, VERSION};
use crate::outbox::ledger::{Range, RangeState};
use crate::outbox::names::segment_number;
use crate::outbox::owner::{OWNER, Owner};
use crate::outbox::real::{RealDisk, is_locked};
use crate::outbox::scan::{Contents, Tail, scan, walk};

const USAGE: &str = "\
durstream-outbox list DIR [--json]     each outbox below DIR: its stream, its producer, what waits in it
durstream-outbox show DIR [--json]     and each write that waits, with what became of it so far
durstream-outbox export DIR [--json]   the writes that wait, in order: one a line, or as JSON with their tags

DIR is an `outbox_dir`, or the folder of one outbox in it. Nothing is changed, and no lock is taken.
";
/// How much of a write is shown.
const SHOWN: usize = 60;

/// The tool: takes its arguments, writes to `out`; what went wrong, for standard error.
#[doc(hidden)]
pub fn outbox_tool(arguments: &[String], out: &mut dyn Write) -> Result<(), String> {
    let looked = look(arguments, out);
    looked.and(written(out.flush()))
}

fn look(arguments: &[String], out: &mut dyn Write) -> Result<(), String> {
    let (flags, words): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|word| word.starts_with("--"));
    let as_json = flags.iter().any(|flag| *flag == "--json");
    if flags.iter().any(|flag| *flag == "--help") {
        return written(out.write_all(USAGE.as_bytes()));
    }
    if let Some(flag) = flags.iter().find(|flag| **flag != "--json") {
        return Err(format!("there is no {flag}\n\n{USAGE}"));
    }
    let [command, dir] = words[..] else { return Err(USAGE.to_owned()) };
    let folders = folders(Path::new(dir))?;
    let looks: Vec<Look> = folders.iter().map(|folder| Look::at(folder)).collect();
    match command.as_str() {
        "list" => written(list(&looks, as_json, false, out)),
        "show" => written(list(&looks, as_json, true, out)),
        "export" => {
            written(export(&looks, as_json, out))?;
            let wrong: Vec<_> = looks.iter().flat_map(|look| look.wrong.iter()).collect();
            match wrong.first() {
                None => Ok(()),
                Some(first) => Err(format!("not everything could be read: {first}")),
            }
        }
        other => Err(format!("there is no command {other}\n\n{USAGE}")),
    }
}

/// A reader that went away is no failure.
fn written(result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// The folders of outboxes: this one, or those in it.
fn folders(dir: &Path) -> Result<Vec<PathBuf>, String> {
    if dir.join(ABOUT).exists() || dir.join(control::NAMES[0]).exists() {
        return Ok(vec![dir.to_owned()]);
    }
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        path.join(ABOUT).exists() || control::NAMES.iter().any(|name| path.join(name).exists())
    };
    let mut found: Vec<_> = paths.filter(is_one).collect();
    found.sort();
    Ok(found)
}

/// A write that waits.
struct Waiting {
    position: u64,
    tag: u64,
    joined: bool,
    last: bool,
    bytes: Vec<u8>,
}

/// One outbox as it was at a moment.
struct Look {
    folder: PathBuf,
    about: Option<About>,
    owner: Option<Owner>,
    /// Whether a process has it open, where that can be told.
    is_open: Option<bool>,
    known: Option<Known>,
    writes: Vec<Waiting>,
    /// What its segments take.
    disk_bytes: u64,
    /// What could not be read.
    wrong: Vec<String>,
}

impl Look {
    fn at(folder: &Path) -> Self {
        let read = |name: &str| fs::read(folder.join(name));
        let about = read(ABOUT).ok().and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok());
        let mut look = Look {
            folder: folder.to_owned(),
            is_open: is_locked(folder),
            owner: read(OWNER).ok().and_then(|bytes| Owner::parse(&bytes)),
            known: None,
            writes: Vec::new(),
            disk_bytes: 0,
            wrong: Vec::new(),
            about: None,
        };
        match about {
            Some(about) if about.format > u64::from(VERSION) => {
                look.wrong.push(format!(
                    "it has format {}, and this tool knows formats up to {VERSION}",
                    about.format
                ));
                look.about = Some(about);
                return look;
            }
            about => look.about = about,
        }
        if look.about.is_none() {
            look.wrong.push(format!("{ABOUT} is missing or damaged"));
        }
        // Before what is known of them: what is deleted meanwhile is known to be settled.
        let segments = look.read_segments();
        let bytes = control::NAMES.map(|name| read(name).ok());
        let bytes = [0, 1].map(|file: usize| bytes[file].as_deref());
        match control::read(bytes, folder, RealDisk.boot(), true) {
            Ok(known) => {
                if known.is_doubtful {
                    look.wrong.push(
                        "its control files are damaged: what is settled may be shown".to_owned(),
                    );
                }
                look.known = Some(known);
            }
            Err(error) => look.wrong.push(error.message().to_owned()),
        }
        look.take(segments);
        look
    }

    fn read_segments(&mut self) -> Vec<(u64, PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut numbers: Vec<_> =
            names.filter_map(|name| Some((segment_number(&name)?, name))).collect();
        numbers.sort();
        let mut segments = Vec::new();
        for (number, name) in numbers {
            let path = self.folder.join(name);
            match fs::read(&path) {
                Ok(bytes) => segments.push((number, path, bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // all of it is settled
                Err(error) => self.wrong.push(format!("{}: {error}", path.display())),
            }
        }
        segments
    }

    /// Takes what is not settled out of the segments.
    fn take(&mut self, segments: Vec<(u64, PathBuf, Vec<u8>)>) {
        let default = control::Known::nothing();
        let ledger = self.known.as_ref().map_or(&default.ledger, |known| &known.ledger).clone();
        let known = self.known.as_ref().filter(|known| !known.is_doubtful);
        let newest = known.map_or(u64::MAX, |known| known.newest.0);
        let mut expected = None;
        for (number, path, bytes) in segments {
            self.disk_bytes += bytes.len() as u64;
            let Ok(header) = Header::decode_segment(&bytes) else {
                // One that nobody knows of is being made, of a file with something in it perhaps.
                if number <= newest && bytes.iter().any(|byte| *byte != 0) {
                    self.wrong.push(format!("{} at byte 0: its header is damaged", path.display()));
                }
                continue;
            };
            if header.number != number {
                continue; // all of it is settled, and another segment goes into its file
            }
            let contents = scan(&bytes, header.salt, header.extra);
            let gap = expected.map_or(header.extra, |expected: u64| expected.min(header.extra));
            if !ledger.is_settled(gap, header.extra) {
                self.wrong.push(format!("writes are missing before {}", path.display()));
            }
            self.note_holes(&path, &contents, &ledger);
            expected = Some(contents.next);
            let read = walk(&bytes, header.salt, &contents, 0, &mut |group| {
                for (position, tag, bytes) in group.entries() {
                    if !ledger.is_settled(position, position + 1) {
                        let joined = position + 1 < group.end();
                        let (last, bytes) = (group.last && !joined, bytes.to_vec());
                        self.writes.push(Waiting { position, tag, joined, last, bytes });
                    }
                }
                true
            });
            if let Err((at, why)) = read {
                self.wrong.push(format!("{} at byte {at}: {why}", path.display()));
            }
        }
    }

    fn note_holes(
        &mut self,
        path: &Path,
        contents: &Contents,
        ledger: &crate::outbox::ledger::Ledger,
    ) {
        for hole in &contents.holes {
            if !ledger.is_settled(hole.first, hole.end) {
                let (at, why) = (hole.offset, hole.why);
                self.wrong.push(format!("{} at byte {at}: {why}", path.display()));
            }
        }
        let is_settled = ledger.is_settled(contents.next, contents.next + 1);
        if let Tail::Broken(why) = contents.tail
            && !is_settled
        {
            self.wrong.push(format!("{} at byte {}: {why}", path.display(), contents.end));
        }
    }

    fn ranges(&self) -> Vec<Range> {
        self.known.as_ref().map_or(Vec::new(), |known| known.ledger.ranges().collect())
    }

    /// What became of a write so far.
    fn state(&self, ranges: &[Range], position: u64) -> Cow<'static, str> {
        let range = ranges
            .iter()
            .find(|range| (range.first..range.first + range.count).contains(&position));
        match range.map(|range| &range.state) {
            None => "waits".into(),
            Some(RangeState::InDoubt) => "may be stored".into(),
            Some(RangeState::Sent(sent)) => {
                let (epoch, seq) = (sent.epoch, sent.seq);
                format!("bound to epoch {epoch}, sequence number {seq}, unanswered").into()
            }
        }
    }

    fn json(&self, with_writes: bool) -> Value {
        let bytes: usize = self.writes.iter().map(|write| write.bytes.len()).sum();
        let about = self.about.as_ref();
        let ranges = self.ranges();
        let mut out = json!({
            "folder": self.folder.display().to_string(),
            "stream": about.map(|about| &about.stream),
            "producer_id": about.map(|about| &about.producer_id),
            "created": about.map(|about| &about.created),
            "opened_by": self.owner.as_ref().map(|owner| json!({ "pid": owner.pid, "host": owner.host })),
            "is_open": self.is_open,
            "writes": self.writes.len(),
            "bytes": bytes,
            "unanswered": self.writes.iter().filter(|write| self.state(&ranges, write.position).starts_with("bound")).count(),
            "in_doubt": self.writes.iter().filter(|write| self.state(&ranges, write.position).starts_with("may")).count(),
            "disk_bytes": self.disk_bytes,
            "session": self.known.as_ref().and_then(|known| known.ledger.session)
                .map(|last| json!({ "epoch": last.epoch, "next_seq": last.seq + 1 })),
            "damage": self.wrong,
        });
        if with_writes {
            let writes = self.writes.iter().map(|write| {
                let mut value = write.json();
                value["state"] = self.state(&ranges, write.position).into();
                value
            });
            out["waiting"] = writes.collect();
        }
        out
    }
}

impl Waiting {
    fn json(&self) -> Value {
        let mut out = json!({
            "position": self.position,
            "tag": self.tag,
            "joined_with_next": self.joined,
            "closes_stream": self.last,
        });
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => out["text"] = text.into(),
            Err(_) => {
                out["hex"] =
                    self.bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into()
            }
        }
        out
    }

    /// Its beginning, on one line.
    fn shown(&self) -> String {
        let beginning = &self.bytes[..self.bytes.len().min(SHOWN)];
        let more = if beginning.len() < self.bytes.len() { "…" } else { "" };
        format!("{}{more}", String::from_utf8_lossy(beginning).escape_debug())
    }
}

fn list(looks: &[Look], as_json: bool, with_writes: bool, out: &mut dyn Write) -> io::Result<()> {
    if as_json {
        for look in looks {
            writeln!(out, "{}", look.json(with_writes))?;
        }
        return Ok(());
    }
    if looks.is_empty() {
        return writeln!(out, "no outbox is here");
    }
    for look in looks {
        let value = look.json(false);
        let text = |key: &str| value[key].as_str().unwrap_or("unknown").to_owned();
        writeln!(out, "{}", text("stream"))?;
        writeln!(out, "  producer   {}", text("producer_id"))?;
        writeln!(out, "  folder     {}", look.folder.display())?;
        let (writes, bytes) = (look.writes.len() as u64, value["bytes"].as_u64().unwrap_or(0));
        writeln!(
            out,
            "  waiting    {}, {} ({} bound to a request and unanswered, {} may be stored)",
            amount(writes, "write"),
            amount(bytes, "byte"),
            value["unanswered"],
            value["in_doubt"]
        )?;
        writeln!(out, "  on disk    {} bytes", look.disk_bytes)?;
        if let Some(owner) = &look.owner {
            let (pid, host) = (owner.pid, &owner.host);
            match look.is_open {
                Some(false) => {
                    writeln!(out, "  last opened by process {pid} on {host}, which has ended")?
                }
                _ => writeln!(out, "  opened by  process {pid} on {host}")?,
            }
        }
        for wrong in &look.wrong {
            writeln!(out, "  damaged    {wrong}")?;
        }
        if with_writes {
            let ranges = look.ranges();
            for write in &look.writes {
                let state = look.state(&ranges, write.position);
                let tag =
                    if write.tag == 0 { String::new() } else { format!(", tag {}", write.tag) };
                let size = write.bytes.len();
                writeln!(
                    out,
                    "  {:>9}  {size} bytes{tag}, {state}: {}",
                    write.position,
                    write.shown()
                )?;
            }
        }
    }
    Ok(())
}

fn export(looks: &[Look], as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    for look in looks {
        for write in &look.writes {
            match as_json {
                true => writeln!(out, "{}", write.json())?,
                false => {
                    out.write_all(&write.bytes)?;
                    out.write_all(b"\n")?;
                }
            }
        }
    }
    out.flush()
}
