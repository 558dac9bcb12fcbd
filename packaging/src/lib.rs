//! What packages of the project are made of, where a command other than `package` makes it too.

pub mod prefix;
