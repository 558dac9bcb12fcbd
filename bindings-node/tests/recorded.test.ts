// What holds for the server holds for a recorder: tests of it once more, with one in its place.

process.env.DURSTREAM_RECORDED = "1";
await import("./events.test.ts");
await import("./state.test.ts");
await import("./transactions.test.ts");
await import("./producer.test.ts");
