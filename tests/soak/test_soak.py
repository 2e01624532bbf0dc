"""How scripts/soak decides, on samples that are made here: a leak is found, and noise and a warm-up are not."""

import random
import subprocess
import sys
import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "scripts"))
from soaking import hostile, judging, reporting, sampling, wire
from soaking.judging import KIB, LATENCY, MEMORY, judge_descriptors, judge_slope

MIB = 1024 * KIB
WITHIN = 600  # seconds; a failsafe
ROUNDS = 20
SAMPLES_PER_PHASE = 5


def memory(seed, per_round, noise=60 * KIB):
    """Private memory at the quiet points of a soak that has warmed up."""
    choose = random.Random(seed)
    return [30 * MIB + index * per_round + choose.gauss(0, noise) for index in range(ROUNDS - judging.WARM_UP)]


def samples(private=lambda round: 30 * MIB, descriptors=lambda round: 40, delivery=lambda round: 1.0, rounds=ROUNDS):
    """Samples of a soak of one server, by what a quantity is in each round."""
    for number in range(1, rounds + 1):
        for phase in ("load", "rest", "quiet"):
            for _ in range(SAMPLES_PER_PHASE):
                quiet = {"main_private_bytes": private(number), "main_descriptors": descriptors(number)}
                busy = {"main_private_bytes": 80 * MIB, "main_descriptors": 4_000}
                time = {"seconds": float(number), "round": number, "phase": phase, "delivery_p50_ms": delivery(number)}
                yield time | (quiet if phase == "quiet" else busy)


def wrong(rows):
    return {finding.name: finding.wrong for finding in judging.judge(list(rows), ["main"]) if finding.wrong}


class Slopes(unittest.TestCase):
    def test_a_leak_of_100_kib_per_round_is_found_under_noise(self):
        missed = [seed for seed in range(300) if not judge_slope("", memory(seed, 100 * KIB), MEMORY).wrong]
        self.assertEqual(missed, [])

    def test_rounds_that_differ_by_turns_hide_no_leak_and_are_none(self):
        turns = [index % 2 * 700 * KIB for index in range(ROUNDS - judging.WARM_UP)]
        for per_round, verdict in ((100 * KIB, "grows"), (0, "")):
            points = [own + other for own, other in zip(memory(1, per_round), turns)]
            self.assertEqual(judge_slope("", points, MEMORY).wrong, verdict)

    def test_noise_alone_is_no_leak(self):
        for noise in (20 * KIB, 200 * KIB, 2 * MIB):
            found = [seed for seed in range(300) if judge_slope("", memory(seed, 0, noise), MEMORY).wrong]
            self.assertLessEqual(len(found), 6, f"{len(found)} of 300 at a noise of {noise}")

    def test_a_trend_that_is_sure_and_tiny_is_no_leak(self):
        finding = judge_slope("", [30 * MIB + index * KIB for index in range(17)], MEMORY)
        self.assertEqual((finding.wrong, finding.trend.slope, finding.trend.surely), ("", KIB, KIB))

    def test_outliers_in_one_round_of_four_move_nothing(self):
        points = [30 * MIB + (20 * MIB if index % 4 == 3 else 0) for index in range(16)]
        self.assertEqual(judge_slope("", points, MEMORY).trend.slope, 0)

    def test_memory_that_is_given_back_late_is_no_leak(self):
        self.assertEqual(judge_slope("", [40 * MIB - index * MIB // 2 for index in range(17)], MEMORY).wrong, "")

    def test_five_points_are_judged_and_four_are_not(self):
        rising = [30 * MIB + index * MIB for index in range(5)]
        self.assertEqual(judge_slope("", rising, MEMORY).wrong, "grows")
        self.assertIsNone(judge_slope("", rising[:4], MEMORY).trend)

    def test_a_latency_that_doubles_is_found_and_one_that_drifts_by_a_third_is_not(self):
        growing = lambda by: [2 + by * index / 16 + (index % 3) * 0.02 for index in range(17)]
        self.assertEqual(judge_slope("", growing(2), LATENCY).wrong, "grows")
        self.assertEqual(judge_slope("", growing(0.6), LATENCY).wrong, "")

    def test_one_descriptor_per_round_is_a_leak_and_three_at_once_are_none(self):
        self.assertEqual(judge_descriptors("", [40 + index for index in range(9)]).wrong, "8 more than before")
        self.assertEqual(judge_descriptors("", [40, 41, 40, 43, 40]).wrong, "")


class Samples(unittest.TestCase):
    def test_a_server_that_holds_passes(self):
        self.assertEqual(wrong(samples()), {})

    def test_what_grows_is_named(self):
        self.assertEqual(wrong(samples(private=lambda round: 30 * MIB + round * 200 * KIB)), {"private memory, main": "grows"})
        self.assertEqual(wrong(samples(descriptors=lambda round: 40 + round)), {"descriptors, main": "16 more than before"})
        slower = samples(delivery=lambda round: 1 + round * 0.1)
        self.assertEqual(wrong(slower), {"delivery p50, load": "grows", "delivery p50, quiet": "grows"})

    def test_the_first_rounds_are_not_compared(self):
        self.assertEqual(wrong(samples(private=lambda round: (20 if round <= judging.WARM_UP else 30) * MIB)), {})

    def test_a_short_soak_says_that_no_slope_was_judged(self):
        self.assertTrue(judging.is_too_short(list(samples(rounds=judging.WARM_UP + 4))))
        self.assertFalse(judging.is_too_short(list(samples(rounds=judging.WARM_UP + 5))))

    def test_the_report_begins_with_the_verdict_and_its_reasons(self):
        findings = judging.judge(list(samples(descriptors=lambda round: 40 + round)), ["main"])
        lines = list(reporting.report(findings, ["round 2: main is not quiet"], [("reloads", 40)], False))
        self.assertEqual(lines[:3], ["FAILED", "  descriptors, main: 16 more than before", "  round 2: main is not quiet"])
        self.assertEqual(list(reporting.report([], [], [], False))[0], "passed")

    def test_a_server_with_clients_or_lost_deliveries_is_not_at_rest(self):
        quiet = {"active_connections": 3, "active_rooms": 1, "roomcast_http_connections": 1}
        self.assertEqual(sampling.unrest(quiet, 3, 1), [])
        self.assertEqual(sampling.unrest(quiet | {"active_connections": 4}, 3, 1), ["4 clients"])
        self.assertEqual(sampling.unrest(quiet | {"roomcast_history_messages": 101}, 3, 1), ["101 history_messages"])
        unmade = quiet | {"roomcast_fanned_out_total": 7, 'roomcast_dropped_total{reason="slow"}': 2}
        self.assertEqual(sampling.unrest(unmade, 3, 1), ["5 deliveries neither made nor dropped"])


class Files(unittest.TestCase):
    """scripts/soak --judge on a file of samples."""

    def judged(self, rows):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        rows = list(rows)
        lines = [",".join(rows[0]), *(",".join(str(cell) for cell in row.values()) for row in rows)]
        (Path(folder.name) / "samples.csv").write_text("\n".join(lines) + "\n")
        command = [sys.executable, REPOSITORY / "scripts" / "soak", "--judge", folder.name]
        run = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN)
        return run, Path(folder.name)

    @unittest.skipUnless(find_spec("matplotlib"), "matplotlib is not here")
    def test_a_leak_in_a_file_is_exit_code_1_and_is_drawn(self):
        run, folder = self.judged(samples(private=lambda round: 30 * MIB + round * MIB))
        self.assertEqual((run.returncode, run.stdout.splitlines()[:2]), (1, ["FAILED", "  private memory, main: grows"]))
        self.assertIn("private memory, MiB", (folder / "soak.svg").read_text())
        run, _ = self.judged(samples())
        self.assertEqual((run.returncode, run.stdout.splitlines()[0]), (0, "passed"))

    def test_what_cannot_run_is_exit_code_2(self):
        run = subprocess.run([sys.executable, REPOSITORY / "scripts" / "soak"], capture_output=True, text=True, timeout=WITHIN)
        self.assertEqual(run.returncode, 2)


class Bytes(unittest.TestCase):
    def test_frames_are_written_as_they_are_read(self):
        for length, head in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)]:
            sent = wire.frame(wire.TEXT, b"x" * length)
            # A server does not mask: without the bit and the key.
            received = bytearray([sent[0], sent[1] & 0x7F]) + sent[2:head] + sent[head + 4 :]
            self.assertIsNone(wire.take_frame(received[:-1]))
            self.assertEqual(wire.take_frame(received), (wire.TEXT, b"x" * length))
            self.assertEqual(received, b"")

    def test_the_same_seed_gives_the_same_hostile_inputs(self):
        self.assertEqual(hostile.everything(7), hostile.everything(7))
        self.assertNotEqual(hostile.everything(7), hostile.everything(8))


if __name__ == "__main__":
    unittest.main()
