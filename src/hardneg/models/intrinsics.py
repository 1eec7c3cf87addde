"""Vector code that numba cannot be made to write: sums of table rows that stay in registers, numbers of 16 bits.

In plain numba a sum over neighbours goes through memory once a neighbour. These intrinsics keep it in vector registers and
fetch rows ahead, which makes a product more than twice as fast: what a compiled extension would be for, without a compiler
at installation. What they cost to carry: this file, and numba's compile time at the first use (kept on disk afterwards).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16
"""Numbers of one vector: 64 bytes of float32. Where the machine's vectors are shorter, the compiler takes several."""
AHEAD, LINE = 16, 64
"""Neighbours between the row that is summed and the row that is fetched into the cache; bytes of a cache line."""
_INT32, _INT64, _FLOAT, _HALF, _BITS = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.HalfType(), ir.IntType(16)
_VECTOR = ir.VectorType(_FLOAT, LANES)


class _Writer:
    """Writes the intermediate code of one intrinsic: addresses are 64-bit integers."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def data(self, kind: Any, array: Any) -> Any:
        """The address of an array's first number."""
        return self.builder.ptrtoint(self.context.make_array(kind)(self.context, self.builder, array).data, _INT64)

    def plus(self, base: Any, count: Any, width: int) -> Any:
        """Base + count x width."""
        return self.builder.add(base, self.builder.mul(count, _INT64(width)))

    def load(self, address: Any, kind: Any, align: int) -> Any:
        """What lies there."""
        return self.builder.load(self.builder.inttoptr(address, kind.as_pointer()), align=align)

    def store(self, value: Any, address: Any, align: int) -> None:
        """Put it there."""
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer()), align=align)

    def in_all_lanes(self, number: Any) -> Any:
        """A vector of the same number."""
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        return self.builder.shuffle_vector(self.builder.insert_element(nothing, number, _INT32(0)), nothing, zeros)

    def fetch(self, address: Any) -> None:
        """Ask for the cache line there, without waiting for it."""
        module, name, pointer = self.builder.module, "llvm.prefetch.p0", ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _INT32, _INT32, _INT32])
        function = module.globals.get(name) or ir.Function(module, kind, name=name)
        self.builder.call(function, [self.builder.inttoptr(address, pointer), _INT32(0), _INT32(3), _INT32(1)])

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """a x b + c, rounded once."""
        module, name = self.builder.module, f"llvm.fma.v{LANES}f32"
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = module.globals.get(name) or ir.Function(module, kind, name=name)
        return self.builder.call(function, [a, b, c])


def _row_sum(vectors: int) -> Any:  # noqa: C901 - one intrinsic, written out
    """out[at:at + w] = scale x sum over first <= k < stop of weights[k] table[neighbours[k] x size + column:][:w], w
    being 16 x vectors; and halves[place:place + w] = half_scale x that in float16, where halves has 16 bits. All
    tables are given flat."""

    def row_sum(
        _: Any,
        out: Any,
        at: Any,
        table: Any,
        size: Any,
        column: Any,
        neighbours: Any,
        weights: Any,
        first: Any,
        stop: Any,
        scale: Any,
        halves: Any,
        place: Any,
        half_scale: Any,
    ) -> Any:
        half, keeps = table.dtype.bitwidth == 16, halves.dtype.bitwidth == 16
        stored, width = (ir.VectorType(_HALF, LANES), 2) if half else (_VECTOR, 4)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            write, kinds = _Writer(context, builder), signature.args
            out, table, neighbours, weights = (write.data(kinds[i], arguments[i]) for i in (0, 2, 5, 6))
            at, size, column, first, stop, scale = (arguments[i] for i in (1, 3, 4, 7, 8, 9))
            entry, (loop, body, done) = builder.block, [builder.append_basic_block() for _ in range(3)]
            builder.branch(loop)
            builder.position_at_end(loop)
            k, sums = builder.phi(_INT64), [builder.phi(_VECTOR) for _ in range(vectors)]
            k.add_incoming(first, entry)
            for total in sums:
                total.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), entry)
            builder.cbranch(builder.icmp_signed("<", k, stop), body, done)
            builder.position_at_end(body)
            weight = write.in_all_lanes(write.load(write.plus(weights, k, 4), _FLOAT, 4))
            neighbour = builder.sext(write.load(write.plus(neighbours, k, 4), _INT32, 4), _INT64)
            start = write.plus(table, builder.add(builder.mul(neighbour, size), column), width)
            later = builder.sext(
                write.load(write.plus(neighbours, builder.add(k, _INT64(AHEAD)), 4), _INT32, 4), _INT64
            )
            ahead = write.plus(table, builder.add(builder.mul(later, size), column), width)
            for line in range(0, vectors * LANES * width, LINE):
                write.fetch(builder.add(ahead, _INT64(line)))
            for number, total in enumerate(sums):
                numbers = write.load(write.plus(start, _INT64(number * LANES), width), stored, width)
                numbers = builder.fpext(numbers, _VECTOR) if half else numbers
                total.add_incoming(write.fused(numbers, weight, total), body)
            k.add_incoming(builder.add(k, _INT64(1)), body)
            builder.branch(loop)
            builder.position_at_end(done)
            target, factor = write.plus(out, at, 4), write.in_all_lanes(scale)
            sums = [builder.fmul(total, factor) for total in sums]
            for number, total in enumerate(sums):
                write.store(total, write.plus(target, _INT64(number * LANES), 4), 4)
            if keeps:
                target = write.plus(write.data(kinds[10], arguments[10]), arguments[11], 2)
                factor = write.in_all_lanes(arguments[12])
                for number, total in enumerate(sums):
                    rounded = builder.fptrunc(builder.fmul(total, factor), ir.VectorType(_HALF, LANES))
                    write.store(rounded, write.plus(target, _INT64(number * LANES), 2), 2)
            return context.get_dummy_value()

        whole = types.int64
        given = (out, whole, table, whole, whole, neighbours, weights, whole, whole, types.float32)
        return types.void(*given, halves, whole, types.float32), generate

    return intrinsic(row_sum)


sum_64, sum_16 = _row_sum(4), _row_sum(1)


def _half_of(_: Any, number: Any) -> Any:
    """The bits of the float16 that is nearest to a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], _HALF), _BITS)

    return types.uint16(types.float32), generate


def _number_of(_: Any, stored: Any) -> Any:
    """A stored number as float32, whichever way it is stored."""
    half = stored.bitwidth == 16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], _HALF), _FLOAT) if half else arguments[0]

    return types.float32(stored), generate


def _half_kept(_: Any, halves: Any, place: Any, number: Any) -> Any:
    """halves[place] = number in float16, halves given flat; nothing where it has no 16 bits."""
    keeps = halves.dtype.bitwidth == 16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if keeps:
            write = _Writer(context, builder)
            address = write.plus(write.data(signature.args[0], arguments[0]), arguments[1], 2)
            write.store(builder.fptrunc(arguments[2], _HALF), address, 2)
        return context.get_dummy_value()

    return types.void(halves, types.int64, types.float32), generate


to_half_bits: Any = intrinsic(_half_of)
keep_half: Any = intrinsic(_half_kept)
as_number: Any = intrinsic(_number_of)


def _row_added(vectors: int) -> Any:
    """into[to:to + w] += weight x rows[at:at + w]; w = 16 x vectors, both given flat. They do not overlap, which a plain
    loop cannot know."""

    def row_added(_: Any, into: Any, to: Any, rows: Any, at: Any, weight: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            write, kinds = _Writer(context, builder), signature.args
            target = write.plus(write.data(kinds[0], arguments[0]), arguments[1], 4)
            source = write.plus(write.data(kinds[2], arguments[2]), arguments[3], 4)
            factor = write.in_all_lanes(arguments[4])
            for number in range(vectors):
                to, at = (write.plus(base, _INT64(number * LANES), 4) for base in (target, source))
                write.store(write.fused(write.load(at, _VECTOR, 4), factor, write.load(to, _VECTOR, 4)), to, 4)
            return context.get_dummy_value()

        return types.void(into, types.int64, rows, types.int64, types.float32), generate

    return intrinsic(row_added)


add_16 = _row_added(1)
