// Solidity's command line as forge, Brownie and py-solc-x use it, over the WebAssembly compiler of an npm package:
//     node standard_json.cjs <npm package> --version
//     node standard_json.cjs <npm package> --standard-json [--base-path <folder>]     input on stdin, output on stdout
// Imports that the input does not carry are read below the base path, which is the working folder by default, and
// below its node_modules. Other options of the native compiler only narrow what it may read, and are ignored.
"use strict";
const { readFileSync } = require("node:fs");
const path = require("node:path");

const [packageName, ...options] = process.argv.slice(2);
const solc = require(packageName);

function readImport(basePath, sourceName) {
  for (const folder of [basePath, path.join(basePath, "node_modules")]) {
    const file = path.resolve(folder, sourceName);
    if (!file.startsWith(path.resolve(basePath) + path.sep)) continue;
    try {
      return { contents: readFileSync(file, "utf8") };
    } catch (fault) {
      if (fault.code !== "ENOENT" && fault.code !== "ENOTDIR") return { error: fault.message };
    }
  }
  return { error: `${sourceName}: no such file under ${basePath} or its node_modules` };
}

// Metadata would make the bytecode depend on where the sources lie. forge and py-solc-x ask for none; Brownie cannot
// ask, so an input that says nothing gets none.
function withoutMetadata(input) {
  input.settings.metadata ??= { bytecodeHash: "none", appendCBOR: false };
  return input;
}

if (options.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (options.includes("--standard-json")) {
  const given = options.indexOf("--base-path");
  const basePath = given < 0 ? process.cwd() : options[given + 1];
  const imports = { import: (sourceName) => readImport(basePath, sourceName) };
  // Returning from the script, rather than process.exit, lets Node drain a pipe of any size.
  process.stdout.write(solc.compile(JSON.stringify(withoutMetadata(JSON.parse(readFileSync(0, "utf8")))), imports));
} else {
  process.stderr.write("only --version and --standard-json are supported\n");
  process.exitCode = 2;
}
