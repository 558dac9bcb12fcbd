// Packs the addon of a platform that `cargo xtask package` does not build for, on a machine of that platform:
//
//     node .github/pack-addon.mjs darwin-arm64 target/dist/libdurstream_node.dylib target/packages/npm

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [platform, built, made] = process.argv.slice(2);
if (made === undefined) throw new Error("usage: pack-addon.mjs PLATFORM ADDON FOLDER");
const [os, cpu] = platform.split("-");
const root = fileURLToPath(new URL("..", import.meta.url));
const ours = JSON.parse(readFileSync(join(root, "bindings-node/package.json"), "utf8"));

const name = `durstream-${platform}`;
const { version, license, engines, repository, homepage } = ours;
const texts = ["LICENSE-APACHE", "LICENSE-MIT"];
const manifest = {
  name,
  version,
  description: `The native addon of durstream for ${platform}`,
  license,
  repository,
  homepage,
  engines,
  main: "durstream.node",
  files: ["durstream.node", "THIRD-PARTY.md", ...texts],
  os: [os],
  cpu: [cpu],
};

const folder = mkdtempSync(join(tmpdir(), "durstream-addon-"));
mkdirSync(made, { recursive: true });
copyFileSync(built, join(folder, manifest.main));
for (const text of texts) copyFileSync(join(root, text), join(folder, text));
copyFileSync(join(root, "packaging/THIRD-PARTY.md"), join(folder, "THIRD-PARTY.md"));
writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, undefined, 2));
const about = `# ${name}\n\nThe native addon of \`durstream\`; npm installs it with that where it fits.\n`;
writeFileSync(join(folder, "README.md"), about);
const shell = process.platform === "win32";
execFileSync("npm", ["pack", folder, "--ignore-scripts", "--pack-destination", made], { stdio: "inherit", shell });
