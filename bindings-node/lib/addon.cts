// Finds the native addon: in the package of this platform, or where a checkout builds it.

// Of package.json, which bundlers may not read: an addon of another version, and a test, tell when they differ.
const version = "0.1.0";
const oldestNode = 18;
const hint = 'in a bundle it has to be beside it, see "With a bundler" in the README';

/** Why each place did not give it. */
type Failures = { place: string; error: unknown }[];

/**
 * The addon of a place; undefined if it is not there or does not load.
 *
 * Each place is a text of its own, within a `try`: bundlers find by it what they have to pack, and leave out what is
 * not installed.
 */
function at(place: string, failures: Failures): unknown {
  try {
    switch (place) {
      case "checkout":
        return require("../native/durstream.node");
      case "linux-x64-gnu":
        return require("durstream-linux-x64-gnu");
      case "linux-x64-musl":
        return require("durstream-linux-x64-musl");
      case "linux-arm64-gnu":
        return require("durstream-linux-arm64-gnu");
      case "linux-arm64-musl":
        return require("durstream-linux-arm64-musl");
      case "darwin-x64":
        return require("durstream-darwin-x64");
      case "darwin-arm64":
        return require("durstream-darwin-arm64");
      case "win32-x64-msvc":
        return require("durstream-win32-x64-msvc");
      case "win32-arm64-msvc":
        return require("durstream-win32-arm64-msvc");
    }
  } catch (error) {
    failures.push({ place, error });
  }
  return undefined;
}

/** The places for this platform, the checkout apart. */
function places(): string[] {
  const name = `${process.platform}-${process.arch}`;
  switch (name) {
    case "linux-x64":
    case "linux-arm64":
      // Asking for the C library takes longer than trying both.
      return [`${name}-gnu`, `${name}-musl`];
    case "darwin-x64":
    case "darwin-arm64":
      return [name];
    case "win32-x64":
    case "win32-arm64":
      return [`${name}-msvc`];
    default:
      return [];
  }
}

/** The version of glibc; undefined with another C library. */
function glibc(): string | undefined {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime;
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "MODULE_NOT_FOUND";
}

/** What was found here, what would have worked, and what to do. */
function explain(failures: Failures): Error {
  const linux = process.platform === "linux";
  const libcVersion = linux ? glibc() : undefined;
  const libc = linux ? `, ${libcVersion === undefined ? "musl" : `glibc ${libcVersion}`}` : "";
  const here = `${process.platform}-${process.arch}${libc}, Node ${process.version}`;
  const known = places();
  const expected = linux && libcVersion === undefined ? known[1] : known[0];
  if (expected === undefined) {
    const all = "Linux (glibc or musl), macOS and Windows on x64 and arm64";
    return new Error(`durstream: there is no native addon for ${here}; there is one for ${all}`);
  }
  const broken = failures.find(({ error }) => !isMissing(error));
  if (broken !== undefined) {
    const where = broken.place === "checkout" ? "native/durstream.node" : `the package durstream-${broken.place}`;
    const text = `durstream: ${where} is here and does not load on ${here}, which needs durstream-${expected}; `;
    return new Error(`${text}install durstream again on this machine; ${hint}`, { cause: broken.error });
  }
  const why = "npm leaves it out with --omit=optional, or with a node_modules or lock file of another platform";
  const todo = `npm install durstream-${expected}@${version}`;
  const text = `durstream: the native addon cannot be loaded on ${here}: the package durstream-${expected} is not installed`;
  return new Error(`${text} (${why}); do "${todo}"; ${hint}`, { cause: failures[failures.length - 1]?.error });
}

/** The addon of this version. */
export function addon(): unknown {
  if (Number(process.versions.node.split(".")[0]) < oldestNode) {
    throw new Error(`durstream: this is Node ${process.version}, and Node ${oldestNode} or newer is needed: install one`);
  }
  const failures: Failures = [];
  for (const place of ["checkout", ...places()]) {
    const found = at(place, failures) as { version?: () => string } | undefined;
    if (found === undefined) continue;
    const its = found.version?.() ?? "an unknown version";
    if (its !== version) {
      const where = place === "checkout" ? "native/durstream.node" : `the package durstream-${place}`;
      const text = `durstream: ${where} is of ${its}, and durstream of ${version}: both have to be the same`;
      throw new Error(`${text}; install durstream again, without overrides for its packages`);
    }
    return found;
  }
  throw explain(failures);
}
