// Completes package-lock.json after `npm install`: npm leaves out optional packages of other platforms when the
// lockfile carries no registry addresses, and `npm ci` then refuses it. Each missing entry is taken from the configured
// registry with its integrity hash; one that the registry does not have is entered by the platform in its name
// (<tool>-<os>-<arch>), which is all that `npm ci` needs to skip it elsewhere. Run from the project root by `make lock`.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

function publishedEntry(name, version) {
  const fields = ["license", "os", "cpu", "engines", "bin", "dist.integrity"];
  const view = spawnSync("npm", ["view", `${name}@${version}`, ...fields, "--json"], { encoding: "utf8" });
  if (view.status !== 0) {
    const [os, arch] = name.split("-").slice(-2);
    return { version, os: [os], cpu: [arch === "amd64" ? "x64" : arch] };
  }
  const { "dist.integrity": integrity, ...published } = JSON.parse(view.stdout);
  return { version, integrity, ...published };
}

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const added = {};
for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    if (!(path in lock.packages)) added[path] = { ...publishedEntry(name, version), dev: true, optional: true };
  }
}
const entries = Object.entries({ ...lock.packages, ...added }).sort(([left], [right]) => (left < right ? -1 : 1));
lock.packages = Object.fromEntries(entries);
writeFileSync("package-lock.json", JSON.stringify(lock, null, 2) + "\n");
console.log(`package-lock.json: added ${Object.keys(added).join(", ") || "nothing"}`);
