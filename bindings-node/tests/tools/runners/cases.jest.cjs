const durstream = require("durstream");
const casesFor = require("./cases.cjs");

const cases = casesFor({
  durstream,
  throws: (call, expected) => expect(call).toThrow(expected),
  fake: () => jest.useFakeTimers(),
  real: () => jest.useRealTimers(),
});
for (const [name, body] of Object.entries(cases)) test(name, body, 30_000);
