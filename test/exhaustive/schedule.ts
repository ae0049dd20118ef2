import { close } from './close.ts';
import { digest } from './digest.ts';
import { Ground, quick, type Change } from './ground.ts';
import { startProcess, type How, type Pending, type Stepped } from './process.ts';
import type { Bounds, Scene, Way } from './scene.ts';

/** Which of the ways on from a state is taken, by number; null: what comes then is known already. */
export type Choose = (keys: readonly string[], state: () => string, left: Bounds) => number | null;

/** One schedule of a scene, from the beginning to the end of all that it set going. */
export interface Schedule {
  readonly ground: Ground;
  /** Every step, for people. */
  readonly told: readonly string[];
  /** Throws `Violation`. */
  readonly run: (choose: Choose) => Promise<void>;
}

/** A schedule as far as it has come. */
interface Course {
  readonly scene: Scene;
  readonly ground: Ground;
  readonly processes: Stepped[];
  readonly told: string[];
  /** Who made the last step; null where time has passed since. */
  present: Stepped | null;
  /** What is left of the bounds. */
  left: Bounds;
}

/** Longer than any schedule that comes to an end. */
const maxSteps = 5_000;

export function createSchedule(scene: Scene, bounds: Bounds, change: Change): Schedule {
  const ground = new Ground(scene.policy ?? quick(), scene.journals ?? 1, change);
  const course: Course = { scene, ground, processes: [], told: [], present: null, left: bounds };
  return { ground, told: course.told, run: (choose) => run(course, choose) };
}

async function run(course: Course, choose: Choose): Promise<void> {
  const { scene, ground, processes, told } = course;
  await scene.prepare(ground);
  await ground.look();
  ground.judge();
  ground.beganAt = ground.world.clock.monotonic();
  for (const script of scene.scripts) processes.push(startProcess(ground, script, processes.length));
  await quiet();
  for (let ways = waysOn(course); ways.length > 0; ways = waysOn(course)) {
    if (told.length > maxSteps) throw new Error('a schedule came to no end');
    const keys = ways.map(({ key }) => key);
    const taken = choose(keys, () => stateOf(course), course.left);
    const way = taken === null ? undefined : ways[taken];
    if (way === undefined) return;
    await take(course, way);
  }
  // That all is over is a state like any other: what follows is the same whoever brought it about.
  if (choose(['close'], () => stateOf(course), course.left) !== null) await close(scene, ground);
}

async function take(course: Course, { key, takes, go }: Way): Promise<void> {
  const { processes, present, left, told } = course;
  const by = key.startsWith('go') ? processes[Number(key.slice(3)) - 1] : present;
  const pending = by?.pending[0];
  told.push(pending === undefined ? key : `${key}: ${by?.script.name ?? ''} ${pending.port}.${pending.method}`);
  if (takes !== null) course.left = { ...left, [takes]: left[takes] - 1 };
  await go();
}

function running({ processes }: Course): readonly Stepped[] {
  return processes.filter(({ state }) => state === 'runs');
}

/** All ways on, the plainest first; none where all is over. */
function waysOn(course: Course): readonly Way[] {
  const { scene, ground, present, left } = course;
  const now = ground.world.clock.monotonic();
  const able = running(course).flatMap((stepped) => {
    const pending = stepped.pending.find(({ due }) => due <= now);
    return pending === undefined ? [] : [{ stepped, pending }];
  });
  const here = able.find(({ stepped }) => stepped === present) ?? null;
  const ways: Way[] = able
    .toSorted((one, other) => Number(other === here) - Number(one === here))
    .map((each) => ({
      key: `go ${String(each.stepped.index + 1)}`,
      takes: here === null || each === here ? null : 'preemptions',
      go: () => letGo(course, each.stepped, each.pending, 'go'),
    }));
  if (here !== null) ways.push(...faultsOf(course, here.stepped, here.pending));
  if (able.length > 0) {
    for (const ms of scene.lapses ?? []) {
      ways.push({ key: `lapse ${String(ms)}`, takes: 'lapses', go: () => pass(course, ms, scene.stray) });
    }
  } else if (running(course).length > 0) {
    const due = Math.min(...running(course).flatMap(({ pending }) => pending.map((each) => each.due)));
    ways.push({ key: 'time', takes: null, go: () => pass(course, due - now) });
  }
  return [...ways, ...arrivals(course)].filter(({ takes }) => takes === null || left[takes] > 0);
}

/** What may go wrong with the next call of a process. */
function faultsOf(course: Course, stepped: Stepped, pending: Pending): readonly Way[] {
  if (pending.port === 'clock') return [];
  return (course.scene.faults ?? []).flatMap((fault): readonly Way[] => {
    if (fault === 'die') return [{ key: fault, takes: 'faults', go: () => kill(course, stepped) }];
    if (pending.method === 'answer' || (fault === 'lost' && isRead(pending))) return [];
    return [{ key: fault, takes: 'faults', go: () => letGo(course, stepped, pending, fault) }];
  });
}

/** What dead processes sent may arrive at any time up to the deadline. */
function arrivals(course: Course): readonly Way[] {
  const { ground } = course;
  const sent = ground.flights.filter(({ landed, arrived, by }) => !landed && !arrived && by.state === 'killed');
  if (running(course).length === 0) return [];
  return sent.map((flight) => ({
    key: 'arrive',
    takes: 'preemptions',
    go: async () => {
      ground.arrive(flight);
      await check(course, 'upstream');
    },
  }));
}

async function letGo(course: Course, stepped: Stepped, pending: Pending, how: How): Promise<void> {
  const { ground } = course;
  const { port, method } = pending;
  course.present = stepped;
  const outcome = await pending.go(how);
  await check(course, port);
  if (stepped.state !== 'runs') return;
  const learned = [stepped.history, port, method, outcome, ground.world.clock.now(), ground.view(port)];
  stepped.history = stepped.pausing ? '' : digest(learned.join('\n'));
}

async function kill(course: Course, stepped: Stepped): Promise<void> {
  const { ground, scene, processes } = course;
  ground.kill(stepped);
  if (scene.successor !== undefined) processes.push(startProcess(ground, scene.successor, processes.length));
  await check(course, 'journal');
}

async function pass(course: Course, ms: number, stray: string | null = null): Promise<void> {
  await course.ground.pass(ms, stray);
  // Whoever goes on after a while may be any of them.
  course.present = null;
  await check(course, 'clock');
}

/** Lets everything come to rest, and throws what is wrong then. */
async function check({ ground, processes }: Course, port: Pending['port']): Promise<void> {
  await quiet();
  if (port === 'journal') await ground.look();
  ground.judge();
  const broken = processes.find(({ broke }) => broke !== null);
  if (ground.violation !== null) throw ground.violation;
  if (broken !== undefined) throw broken.broke as Error;
}

/** Two schedules that come to the same one have the same before them. */
function stateOf(course: Course): string {
  const { ground, present, processes } = course;
  const known = running(course).map(({ script, index, history, pending }) =>
    [script.name, index, history, ...pending.map(({ method, due }) => `${method} ${String(due)}`)].join(),
  );
  return digest([ground.state(), present?.index, processes.length, ...known].join('\n'));
}

/** Calls that change nothing: to lose their answer is the same as to have them fail. */
const reads: readonly string[] = ['read', 'runs', 'liveSecrets', 'evidence', 'events'];

function isRead({ method }: Pending): boolean {
  return reads.includes(method);
}

/** Resolves when nothing goes on by itself. */
function quiet(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve);
  });
}
