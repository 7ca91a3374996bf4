//! Files of the paper's model: what is written is read, and what does not fit is an error that names the tensor.

use std::path::Path;
use trm::checkpoint::{Checkpoint, ModelFile, PaperCheckpoint};
use trm::config::{NetworkConfig, TrmConfig};
use trm::model::paper::{Config, Network, Settings};
use trm::tensor::Tensor;

fn checkpoint(mlp_t: bool) -> PaperCheckpoint {
    let config = Config { hidden_size: 32, l_layers: 1, mlp_t, mlp_width: 4, ..Config::default() };
    let config = Config { mlp_t_width: if mlp_t { 3 } else { 512 }, puzzle_emb_ndim: 40, ..config };
    let mut params = trm::network::Weights::zeros(&Network::layout(&config));
    for (i, tensor) in params.tensors_mut().iter_mut().enumerate() {
        tensor.data.iter_mut().enumerate().for_each(|(j, value)| *value = (i * 1000 + j) as f32);
    }
    let config = Settings { model: config, ..Settings::default() };
    Checkpoint { model: params.state_dict(), config, optimizer: None, history: None, training: None }
}

fn in_folder(test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(folder.path());
}

#[test]
fn both_formats_give_back_every_bit() {
    in_folder(|folder| {
        for mlp_t in [false, true] {
            for ending in ["pt", "safetensors"] {
                let path = folder.join(format!("model.{ending}"));
                let written = ModelFile::Paper(Box::new(checkpoint(mlp_t)));
                written.write(&path).unwrap();
                assert_eq!(ModelFile::read(&path).unwrap(), written, "{ending}, mlp_t {mlp_t}");
            }
        }
    });
}

#[test]
fn settings_that_weights_do_not_show_stand_in_safetensors_only() {
    in_folder(|folder| {
        let mut told = checkpoint(false);
        told.config.model.num_heads = 2;
        let path = folder.join("model.safetensors");
        told.write(&path).unwrap();
        assert_eq!(ModelFile::read(&path).unwrap(), ModelFile::Paper(Box::new(told.clone())));
        let error = told.write(&folder.join("model.pt")).unwrap_err().to_string();
        assert!(error.contains(".safetensors"), "{error}");

        let path = folder.join("official.pt");
        checkpoint(false).write(&path).unwrap();
        let read = ModelFile::read_with(&path, &["num_heads=2".to_string()]).unwrap();
        assert_eq!(read, ModelFile::Paper(Box::new(told)));
        let error = ModelFile::read_with(&path, &["num_heads=5".to_string()]).unwrap_err().to_string();
        assert!(error.contains("num_heads = 5"), "{error}");
    });
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let down = "inner.L_level.layers.0.mlp.down_proj.weight";
    type Change = fn(&mut PaperCheckpoint);
    let changes: [(Change, &[&str]); 5] = [
        (|c| drop(c.model.pop()), &["mlp.down_proj.weight is missing"]),
        (|c| c.model.push(("inner.embed_pos.w".into(), Tensor::zeros(&[3]))), &["inner.embed_pos.w [3]"]),
        (|c| c.model[1].1 = Tensor::zeros(&[31]), &["inner.L_init has shape [31]", "[32]"]),
        (|c| c.model[2].1.data[3] = f32::NAN, &["embed_tokens.embedding_weight holds NaN at position 3"]),
        (
            |c| c.model.push(("model.inner.H_init".into(), Tensor::zeros(&[32]))),
            &["model.inner.H_init [32] is not part"],
        ),
    ];
    in_folder(|folder| {
        for (change, words) in changes {
            let mut broken = checkpoint(false);
            assert_eq!(broken.model.last().unwrap().0, down);
            change(&mut broken);
            let path = folder.join("broken.safetensors");
            broken.write(&path).unwrap();
            let error = ModelFile::read(&path).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
        }
    });
}

#[test]
fn a_file_of_another_kind_is_read_as_such_and_takes_no_settings() {
    in_folder(|folder| {
        let config = TrmConfig {
            network: NetworkConfig { hidden_dim: 2, ..NetworkConfig::default() },
            ..TrmConfig::default()
        };
        let model = trm::model::Network::first_weights(&config.network, config.network.seed).state_dict();
        let own =
            trm::checkpoint::Checkpoint { model, config, optimizer: None, history: None, training: None };
        let path = folder.join("own.pt");
        own.write(&path).unwrap();
        assert_eq!(ModelFile::read(&path).unwrap(), ModelFile::Trm(Box::new(own)));
        let error = ModelFile::read_with(&path, &["num_heads=2".to_string()]).unwrap_err().to_string();
        assert!(error.contains("its settings stand in the file"), "{error}");
    });
}
