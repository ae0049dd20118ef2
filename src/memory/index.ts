/** Adapters in memory, and a clock that a test moves: they pass the same conformance suites as the real ones. */
export { createMemoryCanary, type CanaryFault, type CanaryReceiver, type MemoryCanaryControl } from './canary.ts';
export { createFakeClock, createSeededRandom, type FakeClock } from './clock.ts';
export { createMemoryJournal, type MemoryJournalOptions } from './journal.ts';
export {
  createMemoryStore,
  MemoryPlace,
  type MemoryStore,
  type MemoryStoreControl,
  type MemoryStoreOptions,
} from './secret-store.ts';
export {
  createMemoryUpstream,
  type MemoryUpstreamControl,
  type MemoryUpstreamOptions,
  type UpstreamFault,
} from './upstream.ts';
export { createMemoryUsageLog, type MemoryUsageLogOptions } from './usage-log.ts';
