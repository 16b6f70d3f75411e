import { operations } from '../../scripts/soak/operations.ts';
import { tenth } from './tenth.ts';

tenth(operations);
