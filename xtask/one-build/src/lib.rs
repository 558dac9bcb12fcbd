//! Nothing: it is named beside each product that is built, and its dependencies have the features
//! that any of them asks for. Cargo chooses features for what is built together, so products that
//! are built one by one would each compile again what they share. A test of `xtask` looks at it.
