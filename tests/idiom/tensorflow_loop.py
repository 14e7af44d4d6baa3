"""What a careful TensorFlow user writes today without Keras, by hand; imports nothing of Stepwatch."""

import tensorflow as tf


def make(model, batch, x, y, threads):
    """(train, infer, fence) on one fixed batch: x float32 `(n, ...)` channels-last, y int32 `(n,)`."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.random.set_seed(0)

    def dense(i, o):
        return tf.Variable(tf.random.normal((i, o), stddev=i**-0.5)), tf.Variable(tf.zeros(o))

    def conv(i, o):
        return tf.Variable(tf.random.normal((3, 3, i, o), stddev=(9 * i) ** -0.5)), tf.Variable(tf.zeros(o))

    layers = [dense(784, 128), dense(128, 10)]
    if model == "cnn":
        layers = [conv(1, 32), conv(32, 64), dense(3136, 128), dense(128, 10)]
    variables = [v for pair in layers for v in pair]
    velocities = [tf.Variable(tf.zeros_like(v)) for v in variables]

    def forward(h):
        if model == "cnn":
            for w, b in layers[:2]:
                h = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(h, w, 1, "SAME") + b), 2, 2, "VALID")
            h = tf.reshape(h, (batch, -1))
        (w1, b1), (w2, b2) = layers[-2:]
        return tf.nn.relu(h @ w1 + b1) @ w2 + b2

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, forward(images)))
        for v, m, g in zip(variables, velocities, tape.gradient(loss, variables), strict=True):
            if model == "cnn":
                g = m.assign(0.9 * m + g)
            v.assign_sub(0.01 * g)
        return loss

    logits = tf.function(forward)
    images, labels = tf.constant(x), tf.constant(y)
    return lambda: step(images, labels), lambda: logits(images), tf.test.experimental.sync_devices
