//! The two control files: what became of the writes. One is in use; when it is full, a snapshot
//! goes into the other one, so that recording needs no room on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::outbox::disk::{Disk, File, damaged, failed, newer, sync, wipe};
use crate::outbox::format::{At, BadHeader, Boot, Control, HEADER, Header, padded, record_at};
use crate::outbox::ledger::{Ledger, Range, RangeState};
use crate::outbox::sync::Syncer;
use crate::runtime::chance::random;

/// What a control file takes.
pub(crate) const CONTROL_BYTES: usize = 256 * 1024;
pub(crate) const NAMES: [&str; 2] = ["control.a", "control.b"];
/// At the end of a file: the two records that say that the other one is in use.
const RESERVED: usize = 128;

/// What the control files tell of an outbox.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) ledger: Ledger,
    /// The newest segment and its first position; 0 before there is one.
    pub(crate) newest: (u64, u64),
    /// Writes before it were durable.
    pub(crate) synced: u64,
    /// The mode of the life that wrote it, as a number.
    pub(crate) mode: u64,
    /// The machine has not restarted since.
    pub(crate) same_boot: bool,
    /// The machine has restarted since: what is read is on the disk.
    pub(crate) rebooted: bool,
    pub(crate) generation: u64,
    /// It is less than what was: what can be read is all there is.
    pub(crate) is_doubtful: bool,
    /// Which of the files it is, its salt, and where its records end.
    pub(crate) file: usize,
    pub(crate) salt: u64,
    pub(crate) end: usize,
}

impl Known {
    /// Of an outbox whose control files cannot be read.
    pub(crate) fn nothing() -> Self {
        Known {
            ledger: Ledger::default(),
            newest: (0, 0),
            synced: 0,
            mode: 0,
            same_boot: false,
            rebooted: false,
            generation: 0,
            is_doubtful: false,
            file: 0,
            salt: 0,
            end: HEADER,
        }
    }
}

/// One control file, as it was read.
struct Parsed {
    header: Header,
    known: Known,
    /// The other file has this generation, durable or not.
    moved: Option<(u64, bool)>,
    /// What is wrong behind the records that were read.
    wrong: Option<(usize, &'static str)>,
}

fn parse(bytes: &[u8], file: usize, boot: Boot) -> Result<Parsed, BadHeader> {
    let header = Header::decode_control(bytes)?;
    if !header.fits(bytes.len()) {
        return Err(BadHeader::Wrong("it was cut"));
    }
    let same_boot = boot.is_some() && header.boot == boot;
    let mut known = Known {
        mode: header.extra,
        same_boot,
        rebooted: boot.is_some() && header.boot.is_some() && header.boot != boot,
        generation: header.number,
        file,
        salt: header.salt,
        ..Known::nothing()
    };
    let (mut moved, mut session, mut is_complete) = (None, None, false);
    let mut at = HEADER;
    let mut wrong = None;
    loop {
        let record = match record_at(bytes, at, header.salt) {
            At::End => break,
            At::Wrong(why) => {
                wrong = Some((at, why));
                break;
            }
            At::Record(record) => record,
        };
        let Some(read) = Control::read(record) else {
            wrong = Some((at, "a record has impossible fields"));
            break;
        };
        at += record.size;
        let ledger = &mut known.ledger;
        match read {
            Control::State { settled_to, newest, newest_first, session: last, base } => {
                *ledger = Ledger::new(settled_to, last);
                ledger.base = base;
                (known.newest, session) = ((newest, newest_first), last);
            }
            Control::Sent { sent, from, end } => ledger.sent(sent, from, end),
            Control::Unsent { first, count, in_doubt } => {
                ledger.unsent(first, first + count, in_doubt)
            }
            Control::Settled { first, count, base } => {
                ledger.settled(first, first + count);
                if let Some(base) = base {
                    ledger.base = base;
                }
            }
            Control::Tuple(last) => ledger.session = Some(last),
            Control::Synced { position, .. } => known.synced = known.synced.max(position),
            Control::Segment { number, first } => known.newest = (number, first),
            Control::Begin => {
                ledger.session = session;
                is_complete = true;
            }
            Control::Moved { generation, durable } => moved = Some((generation, durable)),
        }
    }
    if !is_complete {
        return Err(BadHeader::Wrong("its snapshot is not whole"));
    }
    // Behind the first gap: in one life of the machine there is nothing; else there may be records,
    // none of which was durable.
    let later = later_records(bytes, at, header.salt);
    if same_boot && wrong.is_none() && !later.is_empty() {
        wrong = Some((at, "a record has no head"));
    }
    if !same_boot {
        let was_durable = |record: &Control| match record {
            Control::Synced { offset, .. } => *offset > at as u64,
            Control::Moved { durable, .. } => *durable,
            _ => false,
        };
        wrong = later
            .iter()
            .any(was_durable)
            .then_some((at, wrong.map_or("a record has no head", |(_, why)| why)));
    }
    known.end = at;
    Ok(Parsed { header, known, moved, wrong })
}

/// The records behind a gap.
fn later_records(bytes: &[u8], from: usize, salt: u64) -> Vec<Control> {
    let mut found = Vec::new();
    let mut at = from;
    while at + 8 <= bytes.len() {
        match record_at(bytes, at, salt) {
            At::Record(record) => {
                found.extend(Control::read(record));
                at += record.size;
            }
            _ => at += 8,
        }
    }
    found
}

/// What the control files of a folder tell; with `salvage` what can be known.
pub(crate) fn read(
    bytes: [Option<&[u8]>; 2],
    folder: &Path,
    boot: Boot,
    salvage: bool,
) -> Result<Known> {
    let path = |file: usize| folder.join(NAMES[file]);
    let parsed = [0, 1].map(|file| {
        let bytes = bytes[file].ok_or(BadHeader::Wrong("it is missing"))?;
        parse(bytes, file, boot)
    });
    for (file, parsed) in parsed.iter().enumerate() {
        if let Err(BadHeader::Newer(version)) = parsed {
            return Err(newer(&path(file), (*version).into()));
        }
    }
    let why = |parsed: &Result<Parsed, BadHeader>| match parsed {
        Err(BadHeader::Wrong(why)) => *why,
        _ => "its header is missing",
    };
    let best = match &parsed {
        [Ok(a), Ok(b)] => {
            if a.header.number > b.header.number {
                a
            } else {
                b
            }
        }
        [Ok(only), Err(_)] | [Err(_), Ok(only)] => only,
        [Err(_), Err(_)] if salvage => {
            return Ok(Known { is_doubtful: true, ..Known::nothing() });
        }
        [first, Err(_)] => return Err(damaged(&path(0), 0, why(first))),
    };
    let (file, other) = (best.known.file, 1 - best.known.file);
    let mut known = best.known.clone();
    let is_behind = best.moved.is_some_and(|(generation, durable)| {
        generation > known.generation && (durable || known.same_boot)
    });
    let problem = match best.wrong {
        Some((at, what)) => Some(damaged(&path(file), at, what)),
        None if is_behind && parsed[other].is_err() => {
            Some(damaged(&path(other), 0, why(&parsed[other])))
        }
        None => None,
    };
    match problem {
        Some(error) if !salvage => Err(error),
        problem => {
            known.is_doubtful = problem.is_some();
            Ok(known)
        }
    }
}

/// A control file from its beginning, with a snapshot of what is known.
pub(crate) fn image(header: &Header, ledger: &Ledger, newest: (u64, u64), synced: u64) -> Vec<u8> {
    let mut out = header.encode_control().to_vec();
    let mut put = |record: &Control| {
        out.extend(record.encode(header.salt));
        out.resize(padded(out.len()), 0);
    };
    put(&Control::State {
        settled_to: ledger.settled_to(),
        newest: newest.0,
        newest_first: newest.1,
        session: ledger.session,
        base: ledger.base.clone(),
    });
    for (first, end) in ledger.ahead() {
        put(&Control::Settled { first, count: end - first, base: None });
    }
    for Range { first, count, state } in ledger.ranges() {
        put(&match state {
            RangeState::Sent(sent) => Control::Sent { sent, from: first, end: first + count },
            RangeState::InDoubt => Control::Unsent { first, count, in_doubt: true },
        });
    }
    put(&Control::Synced { position: synced, offset: 0 });
    put(&Control::Begin);
    out
}

/// The control files of an open outbox.
pub(crate) struct Controls {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    files: [Option<Box<dyn File>>; 2],
    syncer: Arc<Syncer>,
    size: usize,
    mode: u64,
    boot: Boot,
    /// The file in use.
    active: usize,
    generation: u64,
    salt: u64,
    at: usize,
    /// Where the other file ends, with its salt, while it does not say that this one is durable.
    before: Option<(u64, usize)>,
    /// What the file says of writes that are durable, and of itself.
    synced: u64,
    synced_notes: u64,
    /// A record is missing: only a snapshot goes on.
    is_behind: bool,
}

impl Controls {
    /// The files of a folder that has none yet; durable.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        folder: &Path,
        syncer: &Arc<Syncer>,
        size: usize,
        mode: u64,
    ) -> Result<Self> {
        let make = |file: usize| {
            let path = folder.join(NAMES[file]);
            disk.create(&path, size).map(Some).map_err(|error| failed("make", &path, &error))
        };
        let mut controls = Controls {
            disk: disk.clone(),
            folder: folder.to_owned(),
            files: [make(0)?, make(1)?],
            syncer: syncer.clone(),
            size,
            mode,
            boot: disk.boot(),
            active: 1,
            generation: 0,
            salt: 0,
            at: HEADER,
            before: None,
            synced: 0,
            synced_notes: 0,
            is_behind: false,
        };
        controls.write_snapshot(&Ledger::default(), (0, 0))?;
        for (name, file) in NAMES.iter().zip(controls.files.iter().flatten()) {
            sync(disk.as_ref(), folder, file.handle().as_ref())
                .map_err(|error| failed("write", &folder.join(name), &error))?;
        }
        disk.sync_folder(folder).map_err(|error| failed("write", folder, &error))?;
        Ok(controls)
    }

    /// The files of an outbox that was read: what is known goes into the one that is not in use.
    pub(crate) fn reopen(
        disk: &Arc<dyn Disk>,
        folder: &Path,
        syncer: &Arc<Syncer>,
        size: usize,
        mode: u64,
        files: [Option<Box<dyn File>>; 2],
        known: &Known,
    ) -> Result<Self> {
        let mut controls = Controls {
            disk: disk.clone(),
            folder: folder.to_owned(),
            files,
            syncer: syncer.clone(),
            size,
            mode,
            boot: disk.boot(),
            active: known.file,
            generation: known.generation,
            salt: known.salt,
            at: known.end,
            before: None,
            synced: known.synced,
            synced_notes: 0,
            is_behind: false,
        };
        // The file with what is known has to last until the other one does.
        let path = folder.join(NAMES[known.file]);
        let mut file = controls.files[known.file].as_mut();
        if let Some(file) = &mut file {
            // What is behind a gap does not come back once the gap is filled.
            let size = file.bytes().len();
            let behind = file.bytes().get(known.end..).unwrap_or_default();
            if behind.iter().any(|byte| *byte != 0) {
                wipe(file.as_mut(), known.end, size);
            }
        }
        file.map_or(Ok(()), |file| sync(disk.as_ref(), folder, file.handle().as_ref()))
            .and_then(|()| disk.sync_folder(folder))
            .map_err(|error| failed("write", &path, &error))?;
        controls.write_snapshot(&known.ledger, known.newest)?;
        Ok(controls)
    }

    /// Puts a snapshot into the file that is not in use, and goes on there.
    fn write_snapshot(&mut self, ledger: &Ledger, newest: (u64, u64)) -> Result<()> {
        let other = 1 - self.active;
        let path = self.folder.join(NAMES[other]);
        let mut header = Header {
            salt: random(),
            number: self.generation + 1,
            extra: self.mode,
            boot: self.boot,
            eighths: 0,
        };
        let needed = image(&header, ledger, newest, self.synced).len() + RESERVED;
        let mut is_new = false;
        if self.files[other].as_ref().is_none_or(|file| file.bytes().len() < needed * 2) {
            self.files[other] = None; // its name goes to another file
            self.before = None;
            let size = self.size.max((needed * 4).next_power_of_two());
            let made = self.disk.create(&path, size);
            self.files[other] = Some(made.map_err(|error| failed("make", &path, &error))?);
            is_new = true;
        }
        let file = self.files[other].as_mut().expect("it was made").as_mut();
        let size = file.bytes().len();
        header.eighths = u32::try_from(size / 8).unwrap_or_default();
        let image = image(&header, ledger, newest, self.synced);
        file.publish(0, 0); // from here on it is nobody's
        wipe(file, 8, size);
        file.write(8, &image[8..]);
        file.publish(0, u64::from_le_bytes(image[..8].try_into().expect("eight bytes")));
        let (salt, at) = (header.salt, image.len());
        let before = (self.salt, self.at);
        self.generation += 1;
        let moved = Control::Moved { generation: self.generation, durable: false };
        self.before = None;
        let room = self.files[self.active].as_ref().map_or(0, |file| file.bytes().len());
        if before.1 > 0 && before.1 + RESERVED / 2 <= room && self.generation > 1 {
            let end = self.put(self.active, before, &moved);
            self.before = Some((before.0, end));
        }
        (self.active, self.salt, self.at, self.synced_notes) = (other, salt, at, 0);
        let [control, before] = [other, 1 - other].map(|file| self.files[file].as_ref());
        let control = control.expect("it was made").handle();
        let before = before.map(|file| file.handle());
        self.syncer.set_control(control, before, (self.generation, self.at), is_new);
        Ok(())
    }

    /// Puts a record into a file; its end.
    fn put(&mut self, file: usize, (salt, at): (u64, usize), record: &Control) -> usize {
        let bytes = record.encode(salt);
        let file = self.files[file].as_mut().expect("a file in use");
        file.write(at + 8, &bytes[8..]);
        file.publish(at, u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")));
        at + padded(bytes.len())
    }

    /// Adds a record. `ledger` has it already.
    pub(crate) fn record(
        &mut self,
        record: &Control,
        ledger: &Ledger,
        newest: (u64, u64),
    ) -> Result<()> {
        let added = self.note_durable(record, ledger, newest);
        let added = added.and_then(|()| self.add(record, ledger, newest));
        self.is_behind = added.is_err();
        added
    }

    /// Notes what has become durable meanwhile; a batch that goes out is the occasion.
    fn note_durable(
        &mut self,
        record: &Control,
        ledger: &Ledger,
        newest: (u64, u64),
    ) -> Result<()> {
        let (position, generation, offset) = self.syncer.durable();
        if let Some(before) = self.before
            && generation >= self.generation
        {
            self.before = None;
            let moved = Control::Moved { generation: self.generation, durable: true };
            self.put(1 - self.active, before, &moved);
            self.syncer.touch(self.files[1 - self.active].as_ref().expect("it is there").handle());
        }
        let offset = if generation == self.generation { offset } else { 0 };
        let is_news = position > self.synced || offset > self.synced_notes;
        if !is_news || !matches!(record, Control::Sent { .. } | Control::Tuple(_)) {
            return Ok(());
        }
        (self.synced, self.synced_notes) = (position, offset);
        self.add(&Control::Synced { position, offset }, ledger, newest)
    }

    fn add(&mut self, record: &Control, ledger: &Ledger, newest: (u64, u64)) -> Result<()> {
        let size = record.encode(0).len();
        let room = self.files[self.active].as_ref().map_or(0, |file| file.bytes().len());
        if self.is_behind || self.at + padded(size) + RESERVED > room {
            if self.wants_sync() {
                self.syncer.sync_notes()?;
            }
            // It holds what the record says.
            return self.write_snapshot(ledger, newest);
        }
        self.at = self.put(self.active, (self.salt, self.at), record);
        self.syncer.noted(self.generation, self.at);
        Ok(())
    }

    /// Whether the file in use is not durable yet: the next change would wait for that.
    pub(crate) fn wants_sync(&self) -> bool {
        self.syncer.durable().1 < self.generation
    }

    /// Whether they tell less than the ledger.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    pub(crate) fn check(&self) -> std::io::Result<()> {
        self.files.iter().flatten().try_for_each(|file| file.handle().check())
    }
}
