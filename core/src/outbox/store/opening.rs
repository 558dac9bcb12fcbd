//! Opening: what an earlier life left, made whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::outbox::about::{Place, check_about, write_about};
use crate::outbox::control::{self, Controls};
use crate::outbox::disk::{Disk, File, Guard, SYNC_FAILED, failed, rewrite, sync};
use crate::outbox::ledger::Ledger;
use crate::outbox::recover::{Recovered, recover};
use crate::outbox::segment::Segment;
use crate::outbox::spare::{SPARE, Shelf};
use crate::outbox::store::{Found, Outbox, Recovery, Sizes, SyncMode};
use crate::outbox::sync::Syncer;
use crate::runtime::fork::made_in;

impl Outbox {
    /// Opens or makes the outbox of a stream's producer, and finds what is not settled. Blocks.
    pub(crate) fn open_with(
        disk: Arc<dyn Disk>,
        place: &Place,
        mode: SyncMode,
        recovery: Recovery,
        sizes: Sizes,
    ) -> Result<(Self, Found)> {
        let folder = place.folder();
        disk.make_folder(&folder).map_err(|error| failed("make", &folder, &error))?;
        let guard = Arc::from(disk.lock(&folder)?);
        let names = disk.list(&folder).map_err(|error| failed("read", &folder, &error))?;
        let salvage = recovery == Recovery::Salvage;
        let syncer = Arc::new(Syncer::new(disk.clone(), folder.clone()));
        let outbox = match check_about(disk.as_ref(), place, &names, salvage)? {
            true => Outbox::reopen(disk, folder, guard, sizes, mode, &names, salvage, syncer),
            false => Outbox::create(disk, place, guard, sizes, mode, syncer),
        }?;
        let found = outbox.found();
        Ok((outbox, found))
    }

    fn create(
        disk: Arc<dyn Disk>,
        place: &Place,
        guard: Arc<dyn Guard>,
        sizes: Sizes,
        mode: SyncMode,
        syncer: Arc<Syncer>,
    ) -> Result<Self> {
        let folder = place.folder();
        let controls = Controls::create(&disk, &folder, &syncer, sizes.control, mode.number())?;
        // Last, and the folder with it: without this file there is no outbox.
        write_about(disk.as_ref(), place)?;
        Ok(Outbox::new(disk, folder, guard, sizes, syncer, controls))
    }

    fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        guard: Arc<dyn Guard>,
        sizes: Sizes,
        syncer: Arc<Syncer>,
        controls: Controls,
    ) -> Self {
        Outbox {
            disk,
            shelf: Arc::new(Shelf::new(&folder)),
            looked_for_spare: false,
            wants_spare: false,
            said_short: false,
            folder,
            guard,
            sizes,
            controls,
            ledger: Ledger::default(),
            segments: Vec::new(),
            newest: (0, 0),
            highest: 0,
            next: 1,
            syncer,
            is_settled: true,
            failure: None,
            may_miss_tuples: false,
            forgot_last: false,
            lost: None,
            made_in: made_in(),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the steps of one function")]
    fn reopen(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        guard: Arc<dyn Guard>,
        sizes: Sizes,
        mode: SyncMode,
        names: &[String],
        salvage: bool,
        syncer: Arc<Syncer>,
    ) -> Result<Self> {
        let open = |file: usize| {
            let path = folder.join(control::NAMES[file]);
            match disk.open(&path) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("open", &path, &error)),
            }
        };
        let mut files: [Option<Box<dyn File>>; 2] = [open(0)?, open(1)?];
        let bytes = [0, 1].map(|file: usize| files[file].as_ref().map(|file| file.bytes()));
        let mut known = control::read(bytes, &folder, disk.boot(), salvage)?;
        let mut found = recover(disk.as_ref(), &folder, names, &known, salvage)?;
        let is_doubtful = found.is_doubtful;
        if is_doubtful {
            // Anything may have been sent.
            found.ledger.unsent(1, found.next, true);
            found.is_changed = true;
        }
        let is_last_forgotten = forget_last(&mut found);
        for (file, name) in files.iter().zip(control::NAMES).filter(|_| is_doubtful) {
            // Copied: the file itself is written to again.
            let path = aside(&folder.join(name));
            let kept = file.as_ref().map_or(Ok(()), |file| disk.replace(&path, file.bytes()));
            kept.map_err(|error| failed("write", &path, &error))?;
        }
        carry_out(disk.as_ref(), &folder, &mut found)?;
        let mark = folder.join(SYNC_FAILED);
        let is_marked = names.iter().any(|name| name == SYNC_FAILED);
        if is_marked && !known.rebooted {
            files.iter_mut().flatten().for_each(|file| rewrite(file.as_mut()));
            found.segments.iter_mut().for_each(Segment::rewrite);
            found.is_changed = true;
        }
        let last = found.segments.last();
        known.newest = last.map_or((0, 0), |last| (last.number, last.first));
        known.ledger = found.ledger;
        known.synced = match known.rebooted {
            true => found.next,
            false if is_marked => 0,
            false => known.synced.min(found.next),
        };
        let was_process = known.mode == SyncMode::Process.number();
        let may_miss = is_doubtful || !known.same_boot && was_process;
        let controls =
            Controls::reopen(&disk, &folder, &syncer, sizes.control, mode.number(), files, &known)?;
        let mut outbox = Outbox::new(disk, folder, guard, sizes, syncer, controls);
        outbox.may_miss_tuples = may_miss;
        outbox.forgot_last = is_last_forgotten;
        outbox.ledger = known.ledger;
        outbox.newest = known.newest;
        outbox.highest = found.highest;
        outbox.lost = found.lost;
        outbox.next = found.next;
        outbox.syncer.begin_at(known.synced);
        outbox.syncer.appended(found.next);
        for segment in &found.segments {
            // The life that made it may have ended before the folder was durable.
            outbox.syncer.add_segment(segment.number, segment.handle(), true);
        }
        outbox.segments = found.segments;
        if names.iter().any(|name| name == SPARE) {
            // Of a life that ended as it was renamed it may be a segment: no file of another life is reused.
            let path = outbox.folder.join(SPARE);
            outbox.disk.remove(&path).map_err(|error| failed("delete", &path, &error))?;
        }
        if found.needs_segment {
            outbox.add_segment(0)?;
        }
        if found.is_changed {
            outbox.syncer.sync()?;
        }
        if is_marked {
            outbox.disk.remove(&mark).map_err(|error| failed("delete", &mark, &error))?;
        }
        Ok(outbox)
    }
}

/// Settles the last messages of earlier lives.
fn forget_last(found: &mut Recovered) -> bool {
    let lasts = found.segments.iter().flat_map(|segment| segment.contents.last.clone());
    let lasts: Vec<_> = lasts.filter(|last| !found.ledger.is_settled(*last, last + 1)).collect();
    lasts.iter().for_each(|last| found.ledger.settled(*last, last + 1));
    !lasts.is_empty()
}

/// Makes the files what was found: the first changes, once nothing is wrong.
fn carry_out(disk: &dyn Disk, folder: &Path, found: &mut Recovered) -> Result<()> {
    for path in &found.link {
        disk.link(path, &aside(path)).map_err(|error| failed("keep", path, &error))?;
    }
    for path in &found.rename {
        disk.rename(path, &aside(path)).map_err(|error| failed("keep", path, &error))?;
    }
    for segment in &mut found.segments {
        segment.lower_mark();
        if found.wipe.contains(&segment.number) {
            segment.wipe_tail();
            let path = &segment.path;
            sync(disk, folder, segment.handle().as_ref())
                .map_err(|error| failed("write", path, &error))?;
        }
    }
    for path in &found.remove {
        disk.remove(path).map_err(|error| failed("delete", path, &error))?;
    }
    if !(found.remove.is_empty() && found.rename.is_empty() && found.link.is_empty()) {
        disk.sync_folder(folder).map_err(|error| failed("write", folder, &error))?;
    }
    Ok(())
}

/// The name under which a damaged file is kept.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".damaged");
    path.with_file_name(name)
}
