import { fullParts } from '../../scripts/soak/full.ts';
import { tenth } from './tenth.ts';

for (const part of fullParts) tenth(part);
