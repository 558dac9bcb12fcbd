"""The recipes for Node."""

import signal

import pytest
from conftest import ROOT

PACKAGES = ROOT / "tests/ends/node_modules"
pytestmark = pytest.mark.usefixtures("packages")


#: With the options of a Nest project; types are not looked at.
TRANSPILE = """
const [, path, source] = process.argv;
const ts = require(path);
const { ES2022: target, ESNext } = { ...ts.ScriptTarget, ESNext: ts.ModuleKind.ESNext };
const compilerOptions = { target, module: ESNext, experimentalDecorators: true, emitDecoratorMetadata: true };
const text = require("fs").readFileSync(source, "utf8");
process.stdout.write(ts.transpileModule(text, { compilerOptions }).outputText);
"""


def program(ends, name):
    """A service that takes its port as an argument."""
    ends.take(name, "orders.mjs")
    if name.endswith(".ts"):
        source = ends.folder / name
        compiled = ends.node("-e", TRANSPILE, PACKAGES / "typescript", source)
        assert compiled.wait() == 0, compiled.err
        name = name.replace(".ts", ".mjs")
        (ends.folder / name).write_text(compiled.out)
    return lambda port: ends.node(name, port)


SERVICES = {
    "http.mjs": 0,
    "express.mjs": 0,
    "fastify.mjs": 0,
    "nest.ts": -signal.SIGTERM,  # by itself
}


@pytest.mark.parametrize("name", SERVICES)
def test_services(ends, serves, name):
    serves(program(ends, name), status=SERVICES[name])


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_given_up_is_said(ends, gives_up, name):
    gives_up(program(ends, name))


def test_pm2(ends, serves):
    ends.take("ecosystem.config.cjs", "pm2.mjs", "orders.mjs")
    runtime = [PACKAGES / "pm2/bin/pm2-runtime", "start", "ecosystem.config.cjs"]
    home = {"PM2_HOME": str(ends.folder / "pm2")}
    serves(lambda port: ends.node(*runtime, PORT=str(port), **home))


def test_an_application_lets_go_of_its_own(ends):
    ends.take("orders.mjs")
    (ends.folder / "two.mjs").write_text("""
        import Fastify from "fastify";
        import { DRAIN, openOrders } from "./orders.mjs";
        const apps = [1, 2].map(() => {
          const app = Fastify();
          app.decorate("orders", openOrders());
          app.addHook("onClose", (app) => app.orders.detach({ timeoutMs: DRAIN }));
          return app;
        });
        apps[0].orders.upsert("orders", { id: "1" });
        await apps[0].close();
        apps[1].orders.upsert("orders", { id: "2" });
        await apps[1].close();
    """)
    two = ends.node("two.mjs")
    assert two.wait() == 0, two.err
    ends.holds_once(["1", "2"])


JEST = [PACKAGES / "jest/bin/jest.js", "--rootDir", ".", "--testMatch", "**/*.test.cjs"]


def jest(ends, *options):
    (ends.folder / "package.json").write_text("{}")
    run = ends.node(*JEST, *options, CI="true")
    run.wait()
    return run.process.returncode, run.err


@pytest.mark.parametrize("how", ["--detectOpenHandles", "--runInBand", "--maxWorkers=2"])
def test_jest(ends, how):
    ends.take("shop.test.cjs", "orders.cjs")
    # A second file: with one alone Jest starts no workers.
    (ends.folder / "more.test.cjs").write_text((ends.folder / "shop.test.cjs").read_text())
    code, said = jest(ends, how)
    assert code == 0 and "Tests:       4 passed" in said, said
    assert "open handle" not in said and "did not exit" not in said and "durstream" not in said


@pytest.mark.parametrize("how", ["--detectOpenHandles", "--maxWorkers=2"])
def test_jest_ends_although_a_test_leaves_writes(ends, how):
    orders = ends.take("orders.cjs")
    # The workers write side by side: under one id, the newest would fence the other.
    orders.write_text(orders.read_text().replace('"shop" }', '"shop", shared: true }'))
    for name in ("a", "b"):
        (ends.folder / f"{name}.test.cjs").write_text(f"""
            test("an order", () => {{
              const orders = require("./orders.cjs").openOrders();
              for (let n = 0; n < 10; n++) orders.upsert("orders", {{ id: "{name}" + n }});
            }});
        """)
    code, said = jest(ends, how)
    assert code == 0, said
    ends.holds_once(f"{name}{n}" for name in "ab" for n in range(10))
