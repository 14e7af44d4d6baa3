"""LSTM and GRU: the input's products of all positions at once, then one position after the other.

On a GPU outside XLA it is cuDNN's own, as Keras has it; elsewhere tf.while_loop, as fast as the loop unrolled, which
takes ten times as long to trace (and XLA minutes to compile). BlockLSTMV2 is slower on a CPU, and has no fp64.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from bench.backends.tensorflow.contractions import product
from bench.backends.tensorflow.sequences import by_position, rows
from bench.backends.tensorflow.target import Operation, Target
from bench.layers import GRU, LSTM, Shape

# (the input's part of one position's gates, state) -> state, of which the first is h
Cell = Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]


def lstm(layer: LSTM, enters: Shape, found: dict[str, Any], target: Target) -> Operation:
    if _by_cudnn(target):
        biases = (tf.zeros_like(found["bias"]), found["bias"])  # cuDNN has two, of which one is enough
        return lambda x, training: _cudnn(x, layer, enters, found, biases, target)

    def walk(x: Any, training: bool) -> Any:
        recurrent = target.operand(found["recurrent"])

        def cell(outer: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            h, c = state
            i, f, g, o = tf.split(target.exact(outer + tf.matmul(h, recurrent)), 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return target.operand(tf.sigmoid(o) * tf.tanh(c)), c

        outer = by_position(product(x, found["kernel"], found["bias"], target, training=training), enters[0])
        zeros = (outer.shape[1], layer.units)
        return _along(cell, outer, (tf.zeros(zeros, target.product), tf.zeros(zeros, target.kept)), layer.sequences)

    return walk


def gru(layer: GRU, enters: Shape, found: dict[str, Any], target: Target) -> Operation:
    if _by_cudnn(target):
        biases = (found["bias"], found["recurrent_bias"])
        return lambda x, training: _cudnn(x, layer, enters, found, biases, target)

    def walk(x: Any, training: bool) -> Any:
        recurrent, bias = target.operand(found["recurrent"]), found["recurrent_bias"]

        def cell(outer: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            (h,) = state
            r, z, n = tf.split(target.exact(outer), 3, axis=1)
            inner = target.exact(tf.matmul(target.operand(h), recurrent)) + bias
            inner_r, inner_z, inner_n = tf.split(inner, 3, axis=1)
            n = tf.tanh(n + tf.sigmoid(r + inner_r) * inner_n)
            return (n + tf.sigmoid(z + inner_z) * (h - n),)

        outer = by_position(product(x, found["kernel"], found["bias"], target, training=training), enters[0])
        start = (tf.zeros((outer.shape[1], layer.units), target.kept),)
        return target.operand(_along(cell, outer, start, layer.sequences))

    return walk


def _along(cell: Cell, outer: Any, start: tuple[Any, ...], sequences: bool) -> Any:
    """Every h as a matrix, or the last. It reads a TensorArray: the gradient of a slice is as large as the whole."""
    positions = outer.shape[0]
    read = tf.TensorArray(outer.dtype, positions, element_shape=outer.shape[1:]).unstack(outer)
    every = tf.TensorArray(start[0].dtype, positions if sequences else 0, element_shape=start[0].shape)

    def step(position: Any, every: Any, *state: Any) -> tuple[Any, ...]:
        state = cell(read.read(position), state)
        return position + 1, every.write(position, state[0]) if sequences else every, *state

    _, every, h, *_ = tf.while_loop(
        lambda position, *_: position < positions, step, (0, every, *start), maximum_iterations=positions
    )
    return rows(every.stack()) if sequences else h


def _by_cudnn(target: Target) -> bool:
    return target.device == "gpu" and not target.xla


def _cudnn(
    x: Any, layer: LSTM | GRU, enters: Shape, found: dict[str, Any], biases: tuple[Any, Any], target: Target
) -> Any:
    """Its gates are in our order. Of parameters it takes one vector: each gate's kernel transposed, then the biases."""
    kernels = [tf.transpose(found[name]) for name in ("kernel", "recurrent")]
    parameters = tf.concat([tf.reshape(target.operand(part), (-1,)) for part in (*kernels, *biases)], 0)
    sequence = by_position(x, enters[0])
    zeros = tf.zeros((1, sequence.shape[1], layer.units), x.dtype)
    every, last, *_ = tf.raw_ops.CudnnRNNV3(
        input=sequence,
        input_h=zeros,
        input_c=zeros if isinstance(layer, LSTM) else tf.zeros((), x.dtype),
        params=parameters,
        sequence_lengths=tf.fill((sequence.shape[1],), enters[0]),
        rnn_mode="lstm" if isinstance(layer, LSTM) else "gru",
        time_major=True,
    )
    return rows(every) if layer.sequences else last[0]
