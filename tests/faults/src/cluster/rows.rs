//! The faults of a cluster: what happens, to which node, and how it is mended.

use super::nodes::{Cluster, NODES};
use durstream_tests::failure::Result;

/// A fault, several times.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// How often it happens.
    pub(super) rounds: usize,
    pub(super) happens: fn(&mut Cluster, usize) -> Result,
    pub(super) is_mended: fn(&mut Cluster, usize) -> Result,
    /// Which node it happens to.
    pub(super) whom: Whom,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// The one that leads the most streams.
    Leader,
    /// Each one in its turn.
    Each,
    /// Nobody; writers begin at followers.
    Nobody,
}

fn nothing(_: &mut Cluster, _: usize) -> Result {
    Ok(())
}

pub(super) fn all() -> Vec<Row> {
    let row =
        |name, whom, rounds, happens, is_mended| Row { name, rounds, happens, is_mended, whom };
    vec![
        row("written through a follower", Whom::Nobody, 1, nothing, nothing),
        row("the leader killed", Whom::Leader, 4, killed, Cluster::start_again),
        row("the leader frozen", Whom::Leader, 6, |c, n| c.freeze(n, true), thawed),
        row("the leader stopped politely", Whom::Leader, 4, Cluster::stop, Cluster::start_again),
        row("each restarted in turn", Whom::Each, 2 * NODES, rolled, nothing),
        row("the leader cut off from the others", Whom::Leader, 4, cut, joined),
        row("the leader comes back empty", Whom::Leader, 1, killed, empty),
    ]
}

fn killed(cluster: &mut Cluster, number: usize) -> Result {
    cluster.kill(number);
    Ok(())
}

/// When it is ready again is its own matter.
fn thawed(cluster: &mut Cluster, number: usize) -> Result {
    cluster.freeze(number, false)
}

fn rolled(cluster: &mut Cluster, number: usize) -> Result {
    cluster.stop(number)?;
    cluster.start_again(number)
}

fn cut(cluster: &mut Cluster, number: usize) -> Result {
    cluster.cut_off(number, true);
    Ok(())
}

fn joined(cluster: &mut Cluster, number: usize) -> Result {
    cluster.cut_off(number, false);
    Ok(())
}

/// As a machine that was replaced. Until an operator admits it, it leads nothing and is not ready; it
/// is there, and asked.
fn empty(cluster: &mut Cluster, number: usize) -> Result {
    cluster.wipe(number)?;
    cluster.launch(number)
}
