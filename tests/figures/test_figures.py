"""scripts/figures on samples: what it reads, prints and draws, and what it says where something is missing.

The samples are made here in the form of criterion's and loadgen's files; `recorded/` holds some that those wrote, without
curves and machine.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RECORDED = Path(__file__).resolve().parent / "recorded"
sys.path.insert(0, str(REPOSITORY / "scripts"))
import measured

WITHIN = 600  # seconds; a failsafe

BROKER_NANOS = {"sharded": 50, "rwlock_broadcast": 200, "dashmap_mailboxes": 125, "parking_lot_mailboxes": 40}
BENCHES = {
    "fan_out/memory": [10, 100, 1_000, 10_000],
    "fan_out/sockets": [10, 100, 1_000, 10_000],
    "join_leave/alone": [10, 100, 1_000, 10_000],
    "join_leave/publish_between": [10, 100, 1_000, 10_000],
    "routing/hand_over": [1, 2, 4, 8],
    "routing/deliver": [1, 2, 4, 8],
}
FIGURES = {
    "growth-members", "growth-rooms", "growth-workers", "growth-size", "fan-out", "architectures", "join-leave", "routing",
}


class Figures(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.target = Path(folder.name) / "target"
        # The script writes beside itself, so it works on a copy.
        shutil.copytree(REPOSITORY / "scripts", Path(folder.name) / "scripts")
        self.drawn = Path(folder.name) / "docs" / "figures"
        self.drawn.parent.mkdir()
        os.environ["CARGO_TARGET_DIR"] = str(self.target)
        os.environ.pop("CRITERION_HOME", None)

    def figures(self, *arguments):
        script = self.drawn.parent.parent / "scripts" / "figures"
        return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=WITHIN)

    def bench(self, group, name, nanos, elements):
        folder = self.target / "criterion" / group.replace("/", "_") / str(name) / "new"
        folder.mkdir(parents=True)
        interval = {"confidence_level": 0.95, "lower_bound": nanos * 0.9, "upper_bound": nanos * 1.1}
        median = {"point_estimate": nanos, "confidence_interval": interval}
        (folder / "estimates.json").write_text(json.dumps({"median": median}))
        (folder / "benchmark.json").write_text(json.dumps({"throughput": {"Elements": elements}}))

    def all_benches(self):
        for group, names in BENCHES.items():
            for name in names:
                self.bench(group, name, 1_000 + 70 * name, name)
        for workload in measured.WORKLOADS:
            for broker, nanos in BROKER_NANOS.items():
                self.bench(f"architectures/{workload}", broker, nanos * 800, 800)

    def growth(self, name, servers, limit=4_000, faults=()):
        """One round of one point: nanoseconds of a delivery by number of workers, and of the bare loop."""
        folder = self.target / "measured" / "growth"
        folder.mkdir(parents=True, exist_ok=True)
        command = "tcp://127.0.0.1:1 roomcast --workers"
        sides = [contestant("limit", limit, faults)]
        sides += [contestant(f"{command} {count}", nanos, faults) for count, nanos in servers.items()]
        (folder / f"{name}.json").write_text(json.dumps(sides))

    def all_growth(self):
        for round in (1, 2, 3):
            for axis, values in (("members", (10, 100)), ("rooms", (1, 10)), ("size", (36, 128))):
                for value in values:
                    self.growth(f"{axis}-{value}.{round}", {1: 5_000})
            self.growth(f"workers-all.{round}", {1: 5_000, 2: 8_000, 4: 10_000})

    def test_the_table_has_medians_per_delivery_and_ratios_to_the_sharded_broker(self):
        self.all_benches()
        printed = self.figures("--table", "architectures").stdout.splitlines()
        names = "`sharded` | `rwlock_broadcast` | `dashmap_mailboxes` | `parking_lot_mailboxes`"
        self.assertEqual(printed[0], f"| workload | {names} |")
        self.assertEqual(printed[2], "| one big room | 50.0 (1.00) | 200 (4.00) | 125 (2.50) | 40.0 (0.80) |")
        self.assertEqual(len(printed), 2 + len(measured.WORKLOADS))

    def test_an_axis_is_in_order_of_numbers_with_the_efficiency_of_each_round(self):
        for round, limit in ((1, 4_000), (2, 2_000), (3, 4_500)):
            self.growth(f"members-10000.{round}", {1: 5_000}, limit)
            self.growth(f"members-10.{round}", {1: 8_000}, limit)
        ten, ten_thousand = measured.growth("members")
        self.assertEqual((ten.value, ten_thousand.value), (10, 10_000))
        self.assertEqual([run.cost for run in ten.server], [8, 8, 8])
        self.assertAlmostEqual(ten_thousand.efficiency(), 0.8)
        self.assertEqual((ten.server[0].p50, ten.server[0].p99), (0.25, 0.75))

    def test_workers_are_told_apart_by_their_commands(self):
        self.growth("workers-all.1", {4: 10_000, 1: 5_000, 2: 8_000})
        points = measured.growth("workers")
        self.assertEqual([(point.value, point.server[0].cost) for point in points], [(1, 5), (2, 8), (4, 10)])

    def test_a_bench_is_criterions_median_over_its_elements(self):
        self.bench("fan_out/memory", 100, 7_000, 100)
        self.assertEqual(measured.bench("fan_out/memory", 100).per_element(), 70)

    def test_what_criterion_and_loadgen_have_written_is_understood(self):
        shutil.copytree(RECORDED, self.target)
        self.assertGreater(measured.bench("join_leave/alone", 10).nanos, 0)
        self.assertEqual(measured.bench("join_leave/alone", 10).elements, 1)
        one, *others = measured.growth("workers")
        self.assertEqual([one.value, *(other.value for other in others)], [1, 2, 4])
        self.assertTrue(0 < one.server[0].p50 <= one.server[0].p99)
        self.assertTrue(0 < one.limit[0].cost)

    def test_a_bench_that_is_missing_is_one_line_that_names_its_command(self):
        self.refused("figures: .*/criterion/architectures_one_big_room/sharded/new/.* is not there: "
                     "run cargo bench --bench architectures", "--table", "architectures")

    def test_an_unknown_figure_is_refused(self):
        self.assertEqual(self.figures("growth-of-hair").returncode, 2)

    @unittest.skipUnless(find_spec("matplotlib"), "python3-matplotlib is not here")
    def test_nothing_is_drawn_while_anything_is_missing(self):
        self.all_benches()
        self.refused(r"figures: .*/growth/members-\*.json is not there: run scripts/growth")
        self.assertFalse(self.drawn.exists())

    @unittest.skipUnless(find_spec("matplotlib"), "python3-matplotlib is not here")
    def test_a_run_with_a_fault_is_not_drawn(self):
        self.growth("members-10.1", {1: 5_000}, faults=["3 lost"])
        self.refused("figures: .*members-10.1.json: 3 lost: run scripts/growth again", "growth-members")

    @unittest.skipUnless(find_spec("matplotlib"), "python3-matplotlib is not here")
    def test_all_figures_are_drawn_small_the_same_each_time_and_with_text_that_can_be_read(self):
        self.all_benches()
        self.all_growth()
        first, second = (self.draw() for _ in range(2))
        self.assertEqual(set(first), FIGURES)
        self.assertEqual(first, second)
        for name, svg in first.items():
            self.assertLess(len(svg), 40_000, name)
            self.assertNotIn("dc:date", svg, name)
        texts = {name: text_of(svg) for name, svg in first.items()}
        self.assertEqual(texts["growth-members"].count("0.80"), 2)
        for efficiency in ("0.80", "0.50", "0.40"):
            self.assertIn(efficiency, texts["growth-workers"])
        self.assertIn("125  (2.50 ×)", texts["architectures"])
        self.assertIn("10 000", texts["fan-out"])

    def draw(self):
        done = self.figures()
        self.assertEqual(done.returncode, 0, done.stderr)
        return {file.stem: file.read_text() for file in self.drawn.glob("*.svg")}

    def refused(self, line, *arguments):
        done = self.figures(*arguments)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertTrue(re.fullmatch(line + "\n", done.stderr), done.stderr)


def text_of(svg):
    return [element.text for element in xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def contestant(command, nanos, faults):
    report = {
        "faults": list(faults),
        "rooms": {"latency": {"p50": 0.25, "p99": 0.75}},
        "server": {"nanos_per_delivery": nanos},
        "generator": {"limited": None, "deliveries_per_read": 1},
    }
    return {"contestant": command, "reports": [report]}


if __name__ == "__main__":
    unittest.main()
