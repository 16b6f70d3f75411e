/** The adverse store keeps the contract as well; otherwise nothing that tests find with it would mean anything. */
import { memoryStore } from '../../src/store/memory.ts';
import { storeConformance } from '../conformance/store.ts';
import { adverseStore } from '../support/adverse-store.ts';

storeConformance('adverse', async options => adverseStore(memoryStore(options), 7));
