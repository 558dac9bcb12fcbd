//! What packages of the project are made of, where a command other than `package` makes it too.

mod manual;
pub mod prefix;
