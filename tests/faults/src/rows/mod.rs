//! The rows of the table, by where their faults come from.

mod crashes;
mod endings;
mod proxied;
mod reference;
mod refusals;
mod rivals;
mod row;

pub(crate) use row::Row;

pub(crate) fn all() -> Vec<Row> {
    let mut rows = proxied::rows();
    rows.extend(refusals::rows());
    rows.extend(crashes::rows());
    rows.extend(reference::rows());
    rows.extend(rivals::rows());
    rows.extend(endings::rows());
    rows
}
