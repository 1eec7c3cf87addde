"""Vector code that numba cannot be made to emit: sums of table rows in registers, and 16-bit floats.

In plain numba a sum over neighbours passes through memory once per neighbour. These intrinsics keep it in vector
registers and prefetch rows, which makes a product more than twice as fast. They replace a compiled extension, without a
compiler at installation; numba compiles them at the first use and caches the result on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hardneg.compiled import BYTES, emit_prefetch

LANES = 16
"""Numbers per vector: 64 bytes of float32. On machines with shorter vectors, the compiler uses several."""
AHEAD, LINE = 16, 64
"""Neighbours between the row that is summed and the row that is prefetched; bytes of a cache line."""
_INT32, _INT64, _FLOAT, _HALF, _BITS = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.HalfType(), ir.IntType(16)
_VECTOR = ir.VectorType(_FLOAT, LANES)


class _CodeWriter:
    """Emits the LLVM code of one intrinsic; addresses are 64-bit integers."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def data(self, kind: Any, array: Any) -> Any:
        """Return the address of an array's first number."""
        return self.builder.ptrtoint(self.context.make_array(kind)(self.context, self.builder, array).data, _INT64)

    def offset(self, base: Any, count: Any, width: int) -> Any:
        """Return base + count x width."""
        return self.builder.add(base, self.builder.mul(count, _INT64(width)))

    def load(self, address: Any, kind: Any, align: int) -> Any:
        """Load a value."""
        return self.builder.load(self.builder.inttoptr(address, kind.as_pointer()), align=align)

    def load_index(self, indices: Any, position: Any) -> Any:
        """Load an element of an int32 array as int64."""
        return self.builder.sext(self.load(self.offset(indices, position, 4), _INT32, 4), _INT64)

    def store(self, value: Any, address: Any, align: int) -> None:
        """Store a value."""
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer()), align=align)

    def broadcast(self, number: Any) -> Any:
        """Return a vector that repeats a number."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        first = self.builder.insert_element(undefined, number, _INT32(0))
        return self.builder.shuffle_vector(first, undefined, zeros)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """Return a x b + c, rounded once."""
        module, name = self.builder.module, f"llvm.fma.v{LANES}f32"
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = module.globals.get(name) or ir.Function(module, kind, name=name)
        return self.builder.call(function, [a, b, c])


def _row_sum(vectors: int) -> Any:
    """Make an intrinsic that sums w = 16 x vectors columns of the table rows of one row's neighbours.

    out[at:at + w] = scale x sum over first <= k < stop of weights[k] table[neighbours[k] x size + column:][:w], and
    halves[half_at:half_at + w] = half_scale x that in float16, if halves has 16 bits. arrays: flat (out, table,
    neighbours, weights, halves), as one tuple that callers build outside their loops.
    """

    def row_sum(
        _: Any,
        arrays: Any,
        at: Any,
        half_at: Any,
        column: Any,
        size: Any,
        first: Any,
        stop: Any,
        scale: Any,
        half_scale: Any,
    ) -> Any:
        table_bits, half_bits = arrays[1].dtype.bitwidth, arrays[4].dtype.bitwidth

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code, values = _CodeWriter(context, builder), arguments[1:]
            kinds = enumerate(signature.args[0])
            out, *inputs, halves = (code.data(kind, builder.extract_value(arguments[0], i)) for i, kind in kinds)
            at, half_at, column, size, first, stop, scale, half_scale = values
            sums = _sum_neighbours(code, vectors, table_bits, inputs, (column, size), (first, stop))
            sums = _store_scaled(code, sums, code.offset(out, at, 4), scale, half=False)
            if half_bits == 16:
                _store_scaled(code, sums, code.offset(halves, half_at, 2), half_scale, half=True)
            return context.get_dummy_value()

        integers = (types.int64,) * 6
        return types.void(arrays, *integers, types.float32, types.float32), generate

    return intrinsic(row_sum)


def _sum_neighbours(
    code: _CodeWriter,
    vectors: int,
    table_bits: int,
    arrays: Sequence[Any],
    row: tuple[Any, Any],
    bounds: tuple[Any, Any],
) -> list[Any]:
    """Emit the loop over neighbours; return its sums. arrays: table, neighbours, weights. row: column, size."""
    (table, neighbours, weights), (column, size), builder = arrays, row, code.builder
    stored, width = (ir.VectorType(_HALF, LANES), 2) if table_bits == 16 else (_VECTOR, 4)
    entry, (loop, body, done) = builder.block, [builder.append_basic_block() for _ in range(3)]
    builder.branch(loop)
    builder.position_at_end(loop)
    k, sums = builder.phi(_INT64), [builder.phi(_VECTOR) for _ in range(vectors)]
    k.add_incoming(bounds[0], entry)
    for total in sums:
        total.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), entry)
    builder.cbranch(builder.icmp_signed("<", k, bounds[1]), body, done)
    builder.position_at_end(body)

    def row_address(position: Any) -> Any:
        row_start = builder.mul(code.load_index(neighbours, position), size)
        return code.offset(table, builder.add(row_start, column), width)

    weight = code.broadcast(code.load(code.offset(weights, k, 4), _FLOAT, 4))
    start, ahead = row_address(k), row_address(builder.add(k, _INT64(AHEAD)))
    for line in range(0, vectors * LANES * width, LINE):
        emit_prefetch(builder, builder.inttoptr(builder.add(ahead, _INT64(line)), BYTES))
    for number, total in enumerate(sums):
        numbers = code.load(code.offset(start, _INT64(number * LANES), width), stored, width)
        numbers = builder.fpext(numbers, _VECTOR) if table_bits == 16 else numbers
        total.add_incoming(code.fused(numbers, weight, total), body)
    k.add_incoming(builder.add(k, _INT64(1)), body)
    builder.branch(loop)
    builder.position_at_end(done)
    return sums


def _store_scaled(code: _CodeWriter, sums: Sequence[Any], address: Any, scale: Any, *, half: bool) -> list[Any]:
    """Emit stores of scale x sums, in 16 bits if `half`; return the scaled sums."""
    builder, factor, width = code.builder, code.broadcast(scale), 2 if half else 4
    scaled = [builder.fmul(total, factor) for total in sums]
    for number, total in enumerate(scaled):
        value = builder.fptrunc(total, ir.VectorType(_HALF, LANES)) if half else total
        code.store(value, code.offset(address, _INT64(number * LANES), width), width)
    return scaled


sum_64, sum_16 = _row_sum(4), _row_sum(1)


def _half_bits(_: Any, number: Any) -> Any:
    """Return the bits of the nearest float16."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], _HALF), _BITS)

    return types.uint16(types.float32), generate


def _as_float(_: Any, stored: Any) -> Any:
    """Return a number as float32: the bits of a float16 are converted, a float32 is unchanged."""
    half = stored.bitwidth == 16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], _HALF), _FLOAT) if half else arguments[0]

    return types.float32(stored), generate


def _store_half(_: Any, halves: Any, position: Any, number: Any) -> Any:
    """Set halves[position], of a flat array, to a number in float16; do nothing if it does not have 16 bits."""
    has_halves = halves.dtype.bitwidth == 16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if has_halves:
            code = _CodeWriter(context, builder)
            address = code.offset(code.data(signature.args[0], arguments[0]), arguments[1], 2)
            code.store(builder.fptrunc(arguments[2], _HALF), address, 2)
        return context.get_dummy_value()

    return types.void(halves, types.int64, types.float32), generate


half_bits: Any = intrinsic(_half_bits)
store_half: Any = intrinsic(_store_half)
as_float: Any = intrinsic(_as_float)


def _add_vector(_: Any, into: Any, to: Any, rows: Any, at: Any, weight: Any) -> Any:
    """Add weight x rows[at:at + 16] to into[to:to + 16]; both are flat and must not overlap."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, kinds = _CodeWriter(context, builder), signature.args
        target = code.offset(code.data(kinds[0], arguments[0]), arguments[1], 4)
        source = code.offset(code.data(kinds[2], arguments[2]), arguments[3], 4)
        total = code.fused(code.load(source, _VECTOR, 4), code.broadcast(arguments[4]), code.load(target, _VECTOR, 4))
        code.store(total, target, 4)
        return context.get_dummy_value()

    return types.void(into, types.int64, rows, types.int64, types.float32), generate


add_16: Any = intrinsic(_add_vector)
